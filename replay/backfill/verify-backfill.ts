import { tx, type Database } from '../../process/database.ts';
import { asFailure } from '../../process/failure.ts';
import type { HeldSet, Outcome } from '../../delivery/decide.ts';
import type { WorkspaceId, RuntimeId } from '../../schemas/ids.ts';
import { auditRun, allItems, loadRun, requireReason, type RunItem } from '../run/runs.ts';
import { canariesOf } from './apply-backfill.ts';
import type { BackfillDeps } from './backfill-deps.ts';
import { pinName, type Pin, type VerifiedCanary } from './canary-gate.ts';
import { listChanges, loadWorkspaces, type RunChange, type WorkspaceRow } from './control-plane-rows.ts';
import { judgeIdentity, type IdentityFile } from './identity.ts';
import { loadKnownFiles, type KnownFiles } from './known-identities.ts';
import { judgeTagged, type TaggedVerdict } from './judge-tagged.ts';
import type { TagPlan } from './plan-backfill.ts';

/** What was found at one workspace. */
export interface VerifiedWorkspace {
  readonly workspace: string;
  readonly verdict: TaggedVerdict;
  /** The template of the record now, and what the run set. */
  readonly template: string | null;
  readonly set: string | null;
  readonly wanted: string | null;
  readonly present: readonly string[];
  readonly announced: { readonly kind: string; readonly epoch: number } | null;
  readonly identityBefore: readonly IdentityFile[];
  readonly identityAfter: readonly IdentityFile[];
}

export interface VerifiedRun {
  readonly runId: string;
  readonly counts: Readonly<Record<TaggedVerdict, number>>;
  /** Releases for which a canary is verified now. */
  readonly canaries: readonly VerifiedCanary[];
  /** The mis-tagged first; at most `shownMax` of each verdict but `ready`. */
  readonly workspaces: readonly VerifiedWorkspace[];
}

const pageSize = 200;
const shownMax = 100;

interface DeliveryRow {
  readonly workspaceId: WorkspaceId;
  readonly template: string | null;
  readonly recordVersion: number;
  readonly present: HeldSet | null;
  readonly announced: Outcome | null;
}

/**
 * Goes back to every workspace that the run changed: the record, what is wanted, what is present, what was said, and the
 * identity before and after, read from the volume now (D3, D4). Workspaces that are ready are canaries for their release. A
 * mis-tag is put on record as such; the caller raises the alarm.
 */
export async function verifyRun(deps: BackfillDeps, runId: string, reason: string): Promise<VerifiedRun> {
  const why = requireReason(reason);
  const run = await loadRun(deps.database, runId, ['backfill']);
  const items = new Map<string, RunItem>();
  for await (const item of allItems(deps.database, runId)) items.set(item.subject, item);
  const changes = await listChanges(deps.controlPlane, runId);
  const known = new Map<RuntimeId, KnownFiles>();
  const counts: Record<TaggedVerdict, number> = { ready: 0, waiting: 0, drifted: 0, 'changed-since': 0, 'mis-tagged': 0 };
  const shown: VerifiedWorkspace[] = [];
  const canaries = new Map(canariesOf(run).map((canary) => [pinName(canary), canary]));
  for (let from = 0; from < changes.length; from += pageSize) {
    const page = changes.slice(from, from + pageSize);
    const ids = page.map(({ workspaceId }) => workspaceId);
    const rows = await loadWorkspaces(deps.controlPlane, ids);
    const deliveries = await loadDeliveries(deps.database, ids);
    for (const change of page) {
      const plan = items.get(change.workspaceId)?.plan as TagPlan | undefined; // a plan of this kind
      const row = rows.get(change.workspaceId);
      const runtime = plan?.runtime ?? row?.runtime;
      if (runtime !== undefined && !known.has(runtime)) known.set(runtime, await loadKnownFiles(deps.database, runtime));
      const { found, pin } = await verifyOne(deps, { change, plan, row, delivery: deliveries.get(change.workspaceId), known: runtime === undefined ? undefined : known.get(runtime) });
      counts[found.verdict] += 1;
      if (found.verdict === 'ready' && pin !== null && !canaries.has(pinName(pin))) canaries.set(pinName(pin), { ...pin, workspace: found.workspace, verifiedAt: Date.now() });
      if (found.verdict !== 'ready' && shown.filter(({ verdict }) => verdict === found.verdict).length < shownMax) shown.push(found);
    }
  }
  await tx(deps.database, async (trx) => {
    await trx.raw('update runs set checkpoint = checkpoint || ?::jsonb where run_id = ?', [JSON.stringify({ canaries: [...canaries.values()] }), runId]);
    const misTagged = shown.filter(({ verdict }) => verdict === 'mis-tagged').map(({ workspace }) => workspace);
    await auditRun(trx, run, 'verify', why, { ...counts, ...(misTagged.length > 0 && { misTagged }) }, misTagged.length > 0 ? 'mis-tagged' : 'done');
  });
  return { runId, counts, canaries: [...canaries.values()], workspaces: shown.toSorted((a, b) => Number(b.verdict === 'mis-tagged') - Number(a.verdict === 'mis-tagged')) };
}

interface Verifying {
  readonly change: RunChange;
  readonly plan: TagPlan | undefined;
  readonly row: WorkspaceRow | undefined;
  readonly delivery: DeliveryRow | undefined;
  readonly known: KnownFiles | undefined;
}

async function verifyOne(deps: BackfillDeps, { change, plan, row, delivery, known }: Verifying): Promise<{ found: VerifiedWorkspace; pin: Pin | null }> {
  const pin = plan?.pin ?? null;
  const { after, probe } = await readAfter(deps, change.workspaceId, plan, known);
  const before = plan === undefined || known === undefined ? 'contradicts' as const : judgeIdentity(plan.item, plan.identity, known.ownersOf).kind;
  const announced = delivery?.announced ?? null;
  const verdict = judgeTagged({
    planned: plan === undefined ? null : { item: plan.item, pin },
    set: change.templateAfter,
    template: row?.template ?? null,
    isStillOurs: row?.templateVersion === change.recordVersion,
    before,
    isFolded: delivery?.template === change.templateAfter && delivery.recordVersion >= change.recordVersion,
    isPresent: pin !== null && delivery?.present?.items.some((held) => held.itemId === pin.item && held.version === pin.version && held.archiveSha256 === pin.archiveSha256) === true,
    // What was tagged while its agent ran goes live in another epoch.
    isReady: announced?.kind === 'ready' && announced.epoch >= change.epoch + (change.status === 'provisioning' ? 0 : 1),
    probe,
  });
  return {
    pin,
    found: {
      workspace: change.workspaceId, verdict, template: row?.template ?? null, set: change.templateAfter,
      wanted: pin === null ? null : `${pin.item}@${pin.version}`,
      present: delivery?.present?.items.map(({ itemId, version }) => `${itemId}@${version}`) ?? [],
      announced: announced === null ? null : { kind: announced.kind, epoch: announced.epoch },
      identityBefore: plan?.identity ?? [], identityAfter: after,
    },
  };
}

/** The identity files as a boot would read them now, and whether they are the planned release's. */
async function readAfter(
  deps: BackfillDeps, workspaceId: WorkspaceId, plan: TagPlan | undefined, known: KnownFiles | undefined,
): Promise<{ after: IdentityFile[]; probe: boolean | null }> {
  if (plan?.pin === undefined || plan.pin === null || known === undefined) return { after: [], probe: null };
  try {
    const files = (await known.filesOf(plan.pin.item, plan.pin.version)).filter(({ identity }) => identity);
    const standing = await deps.readDigests(workspaceId, files.map(({ path }) => path));
    const after = files.map(({ path }): IdentityFile => ({ path, standing: standing.get(path) ?? 'missing' }));
    return { after, probe: files.length > 0 && files.every(({ path, sha256 }) => standing.get(path) === sha256) };
  } catch (error) {
    if (asFailure(error).kind === 'subject') return { after: [], probe: null };
    throw error;
  }
}

async function loadDeliveries(database: Database, ids: readonly WorkspaceId[]): Promise<Map<WorkspaceId, DeliveryRow>> {
  return await tx(database, async (trx) => {
    const { rows } = await trx.raw<{ rows: DeliveryRow[] }>(
      `select workspace_id as "workspaceId", r.template, r.record_version as "recordVersion", d.present, d.announced
       from workspace_records r left join deliveries d using (workspace_id) where workspace_id = any(?::uuid[])`, [[...ids]],
    );
    return new Map(rows.map((row) => [row.workspaceId, row]));
  });
}
