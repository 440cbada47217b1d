import type { Decision, Outcome, WorkspaceState } from '../delivery/decide.ts';
import type { WantedSet } from '../delivery/wanted-set.ts';
import { readClock } from '../entitlements/sql.ts';
import type { Transaction } from '../process/database.ts';
import type { ItemId, RuntimeId, WorkspaceId } from '../schemas/ids.ts';
import type { DeliveryMode, RecordOrigin } from '../schemas/generated/events.ts';
import { loadEntitlements, type EntitlementFacts } from './entitlement-facts.ts';
import { loadItemFacts, type ItemFacts } from './item-facts.ts';

/** Everything that is on record of one workspace and bears on why it is ready or not. Times are the database's. */
export interface WorkspaceFacts {
  readonly workspaceId: WorkspaceId;
  /** The moment that is told of, milliseconds since the epoch. */
  readonly at: number;
  /** Undefined: that moment is now. */
  readonly past: PastFacts | undefined;
  /** Undefined: no event of this workspace had arrived. */
  readonly record: RecordFacts | undefined;
  /** Undefined: it never had a template or a plugin (C6). */
  readonly delivery: DeliveryFacts | undefined;
  /** Undefined: nothing is due, or that is not kept. */
  readonly pending: PendingFacts | undefined;
  /** What the newest attempt found it should hold. */
  readonly wanted: WantedSet | undefined;
  /** Newest first. */
  readonly attempts: readonly AttemptFacts[];
  /** Newest first. */
  readonly announcements: readonly AnnouncementFacts[];
  readonly entitlements: readonly EntitlementFacts[];
  /** Of the items that the record names, as far as they are in the catalogue; empty for a past moment. */
  readonly items: readonly ItemFacts[];
  /** Items whose holders are being woken in pages: this workspace's turn may have yet to come. */
  readonly waking: readonly ItemId[];
}

/** What a moment in the past lacks, and what came after it. */
export interface PastFacts {
  /** When the next attempt began; null: none has. */
  readonly nextAttemptAt: Date | null;
  /** What is not kept, in words. */
  readonly notKept: readonly string[];
}

export interface RecordFacts extends Pick<WorkspaceState, 'orgId' | 'template' | 'plugins' | 'status' | 'epoch' | 'generation'> {
  /** Null, as the next two: not kept of that moment. */
  readonly runtime: RuntimeId | null;
  readonly deliveryMode: DeliveryMode | null;
  readonly origin: RecordOrigin | null;
  readonly recordVersion: number;
  readonly eventId: string;
}

/** A set by the names of its releases. */
export interface SetFacts {
  readonly setDigest: string;
  readonly items: readonly { readonly itemId: string; readonly version: string }[];
}

export interface DeliveryFacts {
  readonly assetsVersion: number;
  /** Null: unknown, which counts as different from everything (C9). */
  readonly present: SetFacts | null;
  readonly staged: { readonly setDigest: string; readonly attempt: number } | null;
  readonly applying: { readonly attempt: number } | null;
  readonly announced: Outcome | null;
  readonly restartRequested: { readonly epoch: number } | null;
  /** Restarts asked for, oldest first: at most three an hour (C11). */
  readonly restartsAsked: readonly Date[];
  /** Milliseconds until the restart for a staged change is asked for; null: nothing waits for that. */
  readonly restartDueInMs: number | null;
  readonly parkedCode: string | null;
}

export interface PendingFacts {
  readonly lane: number;
  readonly tries: number;
  readonly paused: boolean;
  readonly attempt: number | null;
  /** Milliseconds until it is due; 0: now. */
  readonly dueInMs: number;
  /** Milliseconds that the claim of its attempt is good for; 0: nobody works on it. */
  readonly leasedForMs: number;
}

export interface AttemptFacts {
  readonly attempt: number;
  readonly act: Decision['act'];
  /** The event whose record it delivered for. */
  readonly causedBy: string | null;
  readonly startedAt: Date;
  readonly ms: number | null;
  readonly outcome: string | null;
  readonly code: string | null;
  readonly detail: string | null;
  /** The way out that the failure itself named. */
  readonly cure: string | null;
}

export interface AnnouncementFacts {
  readonly at: Date;
  readonly type: string;
  readonly eventId: string;
  readonly sent: boolean;
  /** Why the relay will never publish it. */
  readonly refused: string | null;
  readonly body: Readonly<Record<string, unknown>>;
}

/** How many attempts and announcements are read. */
export const newestMax = 5;

/** Reads what is so now, in the caller's transaction, which should see one snapshot. */
export async function loadWorkspaceFacts(trx: Transaction, workspaceId: WorkspaceId): Promise<WorkspaceFacts> {
  const at = await readClock(trx);
  const record = await one<RecordFacts>(trx, `
    select org_id as "orgId", runtime, template, plugins, status, delivery_mode as "deliveryMode", epoch, generation,
      record_version as "recordVersion", origin, event_id as "eventId"
    from workspace_records where workspace_id = ?`, workspaceId);
  const delivery = await one<DeliveryFacts>(trx, `
    select assets_version as "assetsVersion", present, staged, applying, announced, restart_requested as "restartRequested", parked_code as "parkedCode",
      restarts_asked as "restartsAsked", (extract(epoch from restart_due_at - clock_timestamp()) * 1000)::float8 as "restartDueInMs"
    from deliveries where workspace_id = ?`, workspaceId);
  const pending = await one<PendingFacts>(trx, `
    select lane, tries, paused, attempt,
      greatest(0, extract(epoch from at - clock_timestamp()) * 1000)::float8 as "dueInMs",
      greatest(0, extract(epoch from nullif(lease_until, '-infinity') - clock_timestamp()) * 1000)::float8 as "leasedForMs"
    from pending where workspace_id = ?`, workspaceId);
  const attempts = await loadAttempts(trx, workspaceId, null);
  const announcements = await loadAnnouncements(trx, workspaceId, null);
  const concerned = record === undefined ? [] : itemsOf(record, delivery?.present ?? null);
  const entitlements = record === undefined ? [] : await loadEntitlements(trx, record.orgId, concerned);
  const policies = new Map(entitlements.map(({ itemId, policy }) => [itemId, policy]));
  const waking = await all<{ itemId: ItemId }>(trx, `
    select distinct f.item_id as "itemId" from fanouts f join workspace_items w using (item_id)
    where f.done_at is null and w.workspace_id = ? and w.org_id = coalesce(f.org_id, w.org_id) and w.workspace_id > f.cursor
      and (f.seed is null or rollout_bucket(f.seed, w.workspace_id) between f.bucket_from and f.bucket_below - 1)`, workspaceId);
  return {
    workspaceId, at, past: undefined, record, delivery, pending, wanted: attempts[0]?.wanted, announcements, entitlements,
    attempts: attempts.map(({ wanted: _wanted, ...attempt }) => attempt),
    items: await loadItemFacts(trx, concerned, policies, workspaceId), waking: waking.map(({ itemId }) => itemId),
  };
}

/** What the record names, and what is held without being named any more. */
export function itemsOf(record: Pick<RecordFacts, 'template' | 'plugins'>, present: SetFacts | null): ItemId[] {
  const held = present?.items.map(({ itemId }) => itemId as ItemId) ?? []; // written from a plan, whose ids were parsed
  return [...new Set([...(record.template === null ? [] : [record.template]), ...record.plugins, ...held])].toSorted();
}

/** The newest attempts that had begun, and ended, at a moment; null: now. */
export async function loadAttempts(trx: Transaction, workspaceId: WorkspaceId, at: Date | null, limit: number = newestMax): Promise<(AttemptFacts & { wanted: WantedSet })[]> {
  const { rows } = await trx.raw<{ rows: (AttemptFacts & { wanted: WantedSet })[] }>(`
    select a.attempt, plan->'decision'->>'act' as act, plan->'wanted' as wanted, plan->'workspace'->>'eventId' as "causedBy", started_at as "startedAt",
      case when ended then (extract(epoch from ended_at - started_at) * 1000)::float8 end as ms,
      case when ended then outcome end as outcome, case when ended then code end as code, case when ended then detail end as detail,
      case when ended and outcome = 'failed' then (select f.detail->>'cure' from audit f where f.subject_kind = 'workspace' and f.subject_id = a.workspace_id::text
        and f.attempt = a.attempt and f.outcome = 'failed' order by f.id desc limit 1) end as cure
    from attempts a, lateral (select coalesce(:at::timestamptz is null or ended_at <= :at, false) as ended) e
    where workspace_id = :workspaceId and started_at <= coalesce(:at, started_at) order by attempt desc limit :limit`, { workspaceId, at, limit });
  return rows;
}

/** The newest events on waybill.assets that stood in the outbox at a moment; null: now. */
export async function loadAnnouncements(trx: Transaction, workspaceId: WorkspaceId, at: Date | null, limit: number = newestMax): Promise<AnnouncementFacts[]> {
  const { rows } = await trx.raw<{ rows: AnnouncementFacts[] }>(`
    select created_at as at, type, event_id as "eventId", sent_at is not null and sent_at <= coalesce(:at::timestamptz, sent_at) as sent,
      refused_code || ': ' || refused_reason as refused, body
    from waybill_outbox where key = :workspaceId::text and topic = 'waybill.assets' and created_at <= coalesce(:at, created_at)
    order by id desc limit :limit`, { workspaceId, at, limit });
  return rows;
}

async function all<Row>(trx: Transaction, sql: string, id: string): Promise<Row[]> {
  const { rows } = await trx.raw<{ rows: Row[] }>(sql, [id]);
  return rows;
}

const one = async <Row>(trx: Transaction, sql: string, id: string): Promise<Row | undefined> => (await all<Row>(trx, sql, id))[0];
