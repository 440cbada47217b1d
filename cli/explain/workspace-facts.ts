import type { Decision, Outcome, WorkspaceState } from '../../delivery/decide.ts';
import type { WantedSet } from '../../delivery/wanted-set.ts';
import { effectiveEntitlement, type EffectiveEntitlement } from '../../entitlements/effective.ts';
import type { Line } from '../../entitlements/line.ts';
import { loadLines, readClock } from '../../entitlements/sql.ts';
import type { Transaction } from '../../process/database.ts';
import type { ItemId, OrgId, WorkspaceId } from '../../schemas/ids.ts';

/** Everything that is on record of one workspace and bears on why it is ready or not. Times are the database's. */
export interface WorkspaceFacts {
  readonly workspaceId: WorkspaceId;
  /** Undefined: no event of this workspace has arrived. */
  readonly record: RecordFacts | undefined;
  /** Undefined: it never had a template or a plugin (C6). */
  readonly delivery: DeliveryFacts | undefined;
  /** Undefined: nothing is due. */
  readonly pending: PendingFacts | undefined;
  /** What the newest attempt found it should hold. */
  readonly wanted: WantedSet | undefined;
  /** Newest first. */
  readonly attempts: readonly AttemptFacts[];
  readonly announcements: readonly AnnouncementFacts[];
  readonly entitlements: readonly EntitlementFacts[];
}

export interface RecordFacts extends Pick<WorkspaceState, 'orgId' | 'runtime' | 'template' | 'plugins' | 'status' | 'deliveryMode' | 'epoch' | 'generation'> {
  readonly recordVersion: number;
  readonly origin: string;
  readonly eventId: string;
}

export interface DeliveryFacts {
  readonly assetsVersion: number;
  readonly present: { readonly setDigest: string; readonly items: readonly { readonly itemId: string; readonly version: string }[] } | null;
  readonly staged: { readonly setDigest: string; readonly attempt: number } | null;
  readonly applying: { readonly attempt: number } | null;
  readonly announced: Outcome | null;
  readonly restartRequested: { readonly epoch: number; readonly setDigest: string } | null;
  /** When the restart for a staged change is asked for, the settle window and the cap observed (C11). */
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
  readonly startedAt: Date;
  readonly ms: number | null;
  readonly outcome: string | null;
  readonly code: string | null;
  readonly detail: string | null;
}

export interface AnnouncementFacts {
  readonly at: Date;
  readonly type: string;
  readonly sent: boolean;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface EntitlementFacts extends EffectiveEntitlement {
  readonly itemId: ItemId;
  readonly lines: readonly Line[];
}

/** How many attempts and announcements are shown. */
const newestMax = 5;

/** Reads it all in the caller's transaction, which should see one snapshot. */
export async function loadWorkspaceFacts(trx: Transaction, workspaceId: WorkspaceId): Promise<WorkspaceFacts> {
  const record = await one<RecordFacts>(trx, `
    select org_id as "orgId", runtime, template, plugins, status, delivery_mode as "deliveryMode", epoch, generation,
      record_version as "recordVersion", origin, event_id as "eventId"
    from workspace_records where workspace_id = ?`, workspaceId);
  const delivery = await one<DeliveryFacts>(trx, `
    select assets_version as "assetsVersion", present, staged, applying, announced, restart_requested as "restartRequested", parked_code as "parkedCode",
      (extract(epoch from restart_due_at - clock_timestamp()) * 1000)::float8 as "restartDueInMs"
    from deliveries where workspace_id = ?`, workspaceId);
  const pending = await one<PendingFacts>(trx, `
    select lane, tries, paused, attempt,
      greatest(0, extract(epoch from at - clock_timestamp()) * 1000)::float8 as "dueInMs",
      greatest(0, extract(epoch from nullif(lease_until, '-infinity') - clock_timestamp()) * 1000)::float8 as "leasedForMs"
    from pending where workspace_id = ?`, workspaceId);
  const attempts = await all<AttemptFacts & { wanted: WantedSet }>(trx, `
    select attempt, plan->'decision'->>'act' as act, plan->'wanted' as wanted, started_at as "startedAt",
      (extract(epoch from ended_at - started_at) * 1000)::float8 as ms, outcome, code, detail
    from attempts where workspace_id = ? order by attempt desc limit ${String(newestMax)}`, workspaceId);
  const announcements = await all<AnnouncementFacts>(trx, `
    select created_at as at, type, sent_at is not null as sent, body
    from waybill_outbox where key = ? and topic = 'waybill.assets' order by id desc limit ${String(newestMax)}`, workspaceId);
  const entitlements = record === undefined ? [] : await loadEntitlements(trx, record.orgId, itemsOf(record, delivery));
  return {
    workspaceId, record, delivery, pending, wanted: attempts[0]?.wanted, announcements, entitlements,
    attempts: attempts.map(({ wanted: _wanted, ...attempt }) => attempt),
  };
}

/** What the record names, and what is held without being named any more. */
function itemsOf(record: RecordFacts, delivery: DeliveryFacts | undefined): ItemId[] {
  const held = delivery?.present?.items.map(({ itemId }) => itemId as ItemId) ?? []; // written from a plan, whose ids were parsed
  return [...new Set([...(record.template === null ? [] : [record.template]), ...record.plugins, ...held])].toSorted();
}

/** What the lines of an org say of these items now. */
export async function loadEntitlements(trx: Transaction, orgId: OrgId, itemIds: readonly ItemId[]): Promise<EntitlementFacts[]> {
  const lines = await loadLines(trx, itemIds.map((itemId) => ({ orgId, itemId })));
  const now = await readClock(trx);
  return itemIds.map((itemId) => {
    const own = lines.filter((line) => line.itemId === itemId).toSorted((a, b) => (a.purchaseId < b.purchaseId ? -1 : 1));
    return { itemId, ...effectiveEntitlement(own, now), lines: own };
  });
}

async function all<Row>(trx: Transaction, sql: string, id: string): Promise<Row[]> {
  const { rows } = await trx.raw<{ rows: Row[] }>(sql, [id]);
  return rows;
}

const one = async <Row>(trx: Transaction, sql: string, id: string): Promise<Row | undefined> => (await all<Row>(trx, sql, id))[0];
