import type { Outcome } from '../delivery/decide.ts';
import type { WantedSet } from '../delivery/wanted-set.ts';
import type { Transaction } from '../process/database.ts';
import type { Code } from '../schemas/codes.ts';
import type { ItemId, OrgId, Sha256, WorkspaceId } from '../schemas/ids.ts';
import { loadEntitlementsAt } from './entitlement-facts.ts';
import {
  itemsOf, loadAnnouncements, loadAttempts, newestMax, type AnnouncementFacts, type AttemptFacts, type DeliveryFacts, type RecordFacts, type SetFacts, type WorkspaceFacts,
} from './workspace-facts.ts';

/** Attempts and announcements that are read to find out what was held and said. */
const historyMax = 200;

/**
 * A workspace as it stood at a past moment, from what is kept: the audit rows of its record and of its org's lines, its
 * attempts with their plans, and what was said on waybill.assets. What was due, and the catalogue, are not kept as of a time.
 */
export async function loadWorkspaceFactsAt(trx: Transaction, workspaceId: WorkspaceId, at: Date): Promise<WorkspaceFacts> {
  const notKept: string[] = ['what was due and when', 'the catalogue: the newest attempt until then says what it found'];
  const record = await loadRecordAt(trx, workspaceId, at, notKept);
  const attempts = await loadAttempts(trx, workspaceId, at, historyMax);
  const announcements = await loadAnnouncements(trx, workspaceId, at, historyMax);
  const delivery = record === undefined || (attempts.length === 0 && itemsOf(record, null).length === 0)
    ? undefined : await loadDeliveryAt(trx, workspaceId, at, { record, attempts, announcements });
  const concerned = record === undefined ? [] : itemsOf(record, delivery?.present ?? null);
  const past = record === undefined ? { entitlements: [], notKept: [] } : await loadEntitlementsAt(trx, record.orgId, concerned, at);
  notKept.push(...past.notKept.map((line) => `what the line ${line} said: its audit row is of a version that did not record it`));
  const oldest = announcements.at(-1);
  if (announcements.length === 0 && attempts.length > 0) notKept.push('what had been said on waybill.assets, if anything');
  else if (announcements.length < historyMax && Number(oldest?.body['assets_version'] ?? 1) > 1) notKept.push('what was said before the oldest event that is left in the outbox');
  const { rows: [next] } = await trx.raw<{ rows: { at: Date }[] }>(
    'select started_at as at from attempts where workspace_id = ? and started_at > ? order by attempt limit 1', [workspaceId, at]);
  return {
    workspaceId, at: at.getTime(), past: { nextAttemptAt: next?.at ?? null, notKept }, record, delivery, pending: undefined, wanted: attempts[0]?.wanted,
    attempts: attempts.slice(0, newestMax).map(({ wanted: _wanted, ...attempt }) => attempt),
    announcements: announcements.slice(0, newestMax), entitlements: past.entitlements, items: [], waking: [],
  };
}

/** The record as the newest event until then had made it: each that won left the whole record in its audit row. */
async function loadRecordAt(trx: Transaction, workspaceId: WorkspaceId, at: Date, notKept: string[]): Promise<RecordFacts | undefined> {
  type Detail = Omit<RecordFacts, 'recordVersion' | 'eventId' | 'orgId'> & { readonly version: number };
  const { rows: [row] } = await trx.raw<{ rows: { detail: Detail; eventId: string; orgId: OrgId }[] }>(`
    select detail, caused_by as "eventId", org_id as "orgId" from audit
    where subject_kind = 'workspace' and subject_id = ? and at <= ? and action in ('WorkspaceProvisioned', 'TemplateChanged', 'PluginsChanged', 'WorkspaceStatusChanged')
      -- What lost a conflict never stood.
      and outcome in ('applied', 'conflict') and detail->>'digest' is distinct from detail->>'lost'
    order by id desc limit 1`, [workspaceId, at]);
  if (row === undefined) return undefined;
  const { version, template, plugins, status, epoch, generation, runtime, deliveryMode, origin } = row.detail;
  // A row of an earlier version lacks these three.
  if (runtime === undefined) notKept.push('runtime, delivery mode and origin of the record');
  return {
    orgId: row.orgId, eventId: row.eventId, recordVersion: version, template, plugins, status, epoch, generation,
    runtime: runtime ?? null, deliveryMode: deliveryMode ?? null, origin: origin ?? null,
  };
}

interface History {
  readonly record: RecordFacts;
  /** Newest first, as are the announcements. */
  readonly attempts: readonly (AttemptFacts & { readonly wanted: WantedSet })[];
  readonly announcements: readonly AnnouncementFacts[];
}

async function loadDeliveryAt(trx: Transaction, workspaceId: WorkspaceId, at: Date, { record, attempts, announcements }: History): Promise<DeliveryFacts> {
  const { rows } = await trx.raw<{ rows: VolumeStep[] }>(`
    select action, outcome, attempt, detail from audit
    where subject_kind = 'workspace' and subject_id = ? and at <= ? and action in ('permit', 'stage', 'deliver', 'probe', 'remove') and outcome <> 'failed' order by id`, [workspaceId, at]);
  const asked = announcements.filter(({ type }) => type === 'RestartRequested');
  const ended = attempts.find(({ outcome }) => outcome !== null);
  return {
    assetsVersion: Number(announcements[0]?.body['assets_version'] ?? 0),
    ...volumeAfter(rows, attempts),
    announced: outcomeSaid(announcements[0]),
    restartRequested: asked.some(({ body }) => body['epoch'] === record.epoch) ? { epoch: record.epoch } : null,
    restartsAsked: asked.map((one) => one.at).filter((moment) => moment.getTime() > at.getTime() - 3_600_000).toReversed(),
    restartDueInMs: null,
    parkedCode: ended?.code ?? null,
  };
}

interface VolumeStep {
  readonly action: string;
  readonly outcome: string;
  readonly attempt: number | null;
  readonly detail: { readonly releases?: readonly string[] };
}

/** What was on the volume after these steps, oldest first, as far as finish and removal have recorded it. */
function volumeAfter(steps: readonly VolumeStep[], attempts: History['attempts']): Pick<DeliveryFacts, 'present' | 'staged' | 'applying'> {
  const plans = new Map(attempts.map(({ attempt, wanted }) => [attempt, wanted]));
  let [present, staged, applying]: [SetFacts | null, DeliveryFacts['staged'], DeliveryFacts['applying']] = [null, null, null];
  for (const { action, attempt, detail } of steps) {
    const wanted = attempt === null ? undefined : plans.get(attempt);
    if (action === 'permit' && attempt !== null) applying = { attempt };
    if (action === 'stage' && attempt !== null) staged = { attempt, setDigest: wanted?.setDigest ?? '' };
    if (action === 'deliver') [present, staged, applying] = [setOf(wanted), null, null];
    if (action === 'probe') present = null;
    if (action === 'remove') [present, staged, applying] = [present && without(present, detail.releases ?? []), null, null];
  }
  // The fence of every later attempt that works on the volume takes a staged tree over, or away.
  const fenced = attempts.find(({ act, attempt }) => act !== 'ask' && act !== 'park' && attempt > (staged?.attempt ?? Infinity));
  return { present, staged: fenced === undefined ? staged : null, applying };
}

const setOf = (wanted: WantedSet | undefined): SetFacts | null => wanted === undefined ? null
  : { setDigest: wanted.setDigest, items: wanted.items.map(({ itemId, version }) => ({ itemId, version })) };

const without = (present: SetFacts, gone: readonly string[]): SetFacts =>
  ({ ...present, items: present.items.filter(({ itemId, version }) => !gone.includes(`${itemId}@${version}`)) });

/** The outcome that the last word was; anything else said after an outcome ends it (I6). */
function outcomeSaid(last: AnnouncementFacts | undefined): Outcome | null {
  if (last === undefined || (last.type !== 'AssetsReady' && last.type !== 'AssetsRejected')) return null;
  const body = last.body as Partial<{ epoch: number; generation: number; set_digest: Sha256; code: Code; item_id: ItemId; withheld: { item_id: ItemId; code: Code }[] }>; // an event that was parsed before it was stored
  return {
    kind: last.type === 'AssetsReady' ? 'ready' : 'rejected', epoch: body.epoch ?? 0, generation: body.generation ?? 0, setDigest: body.set_digest ?? ('' as Sha256), // none is said of a refusal
    withheld: (body.withheld ?? []).map(({ item_id: itemId, code }) => ({ itemId, code })), code: body.code ?? null, itemId: body.item_id ?? null,
  };
}
