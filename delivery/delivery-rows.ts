import type { Transaction } from '../process/database.ts';
import { arrayOf } from '../process/sql-columns.ts';
import type { ItemId, Sha256, Version, WorkspaceId } from '../schemas/ids.ts';
import type { DeliveryState, HeldSet, Outcome, WorkspaceState } from './decide.ts';
import type { RestartHistory } from './restart-window.ts';
import type { AsideRecord, DigestsByPath } from './volume/volume-work.ts';

/** A workspace whose delivery row and record are locked until the transaction ends. */
export interface LockedWorkspace {
  readonly workspace: WorkspaceState;
  readonly delivery: DeliveryState;
  /** The attempt that the delivery row names. */
  readonly currentAttempt: number | null;
  readonly assetsVersion: number;
  readonly restarts: RestartHistory;
  /** Whether it ever named a template: then it gets the baseline of its runtime where it names none (C6). */
  readonly hadTemplate: boolean;
}

interface DeliveryRow {
  attempt: number | null;
  assets_version: number;
  present: HeldSet | null;
  staged: DeliveryState['staged'];
  applying: DeliveryState['applying'];
  announced: Outcome | null;
  restart_requested: DeliveryState['restartRequested'];
  lapses_announced: string[];
  restart_owed: number | null;
  restart_due_at: Date | null;
  restarts_asked: Date[];
  held: { itemId: ItemId; version: Version }[];
  residue: boolean;
  waiting: { itemId: ItemId; version: Version }[];
  probe_due: boolean;
  drifted: DeliveryState['drifted'];
  had_template: boolean;
}

interface RecordRow {
  workspace_id: WorkspaceId;
  org_id: WorkspaceState['orgId'];
  runtime: WorkspaceState['runtime'];
  template: ItemId | null;
  plugins: ItemId[];
  status: WorkspaceState['status'];
  delivery_mode: WorkspaceState['deliveryMode'];
  epoch: number;
  generation: number;
  event_id: string;
}

/**
 * Locks the delivery row, then the record, in the order that holds everywhere; reads in later statements, because a join
 * in the locking one would return the rows as they were before the wait. Undefined when there is no record.
 */
export async function lockWorkspace(trx: Transaction, workspaceId: WorkspaceId): Promise<LockedWorkspace | undefined> {
  await trx.raw('select 1 from deliveries where workspace_id = ? for update', [workspaceId]);
  await trx.raw('select 1 from workspace_records where workspace_id = ? for share', [workspaceId]);
  const { rows: [row] } = await trx.raw<{ rows: (DeliveryRow & RecordRow)[] }>(
    `select d.attempt, d.assets_version, d.present, d.staged, d.applying, d.announced, d.restart_requested, d.lapses_announced,
       d.restart_owed, d.restart_due_at, d.restarts_asked, d.waiting, d.probe_due, d.drifted,
       r.workspace_id, r.org_id, r.runtime, r.template, r.plugins, r.status, r.delivery_mode, r.epoch, r.generation, r.event_id,
       exists (select from templated_workspaces t where t.workspace_id = d.workspace_id) as had_template,
       (select coalesce(jsonb_agg(jsonb_build_object('itemId', item_id, 'version', version) order by item_id, version), '[]')
        from (select distinct item_id, version from receipts where workspace_id = d.workspace_id) held) as held,
       exists (select from attempts a where a.workspace_id = d.workspace_id and a.ended_at is null) as residue
     from deliveries d join workspace_records r using (workspace_id) where d.workspace_id = ?`, [workspaceId],
  );
  if (row === undefined) return undefined;
  return {
    workspace: {
      workspaceId: row.workspace_id, orgId: row.org_id, runtime: row.runtime, template: row.template,
      plugins: row.plugins, status: row.status, deliveryMode: row.delivery_mode, epoch: row.epoch,
      generation: row.generation, eventId: row.event_id,
    },
    delivery: {
      present: row.present, staged: row.staged, applying: row.applying, announced: row.announced,
      restartRequested: row.restart_requested, restartOwed: row.restart_owed, lapsesAnnounced: row.lapses_announced, residue: row.residue,
      held: row.held, waiting: row.waiting, probeDue: row.probe_due, drifted: row.drifted,
    },
    currentAttempt: row.attempt,
    assetsVersion: row.assets_version,
    hadTemplate: row.had_template,
    restarts: { dueAt: row.restart_due_at?.getTime() ?? null, askedAt: row.restarts_asked.map((at) => at.getTime()) },
  };
}

/** Makes `attempt` the current one: from here on permit and finish are refused to every other (I24). */
export async function becomeCurrent(trx: Transaction, workspaceId: WorkspaceId, attempt: number): Promise<void> {
  await trx.raw('update deliveries set attempt = ? where workspace_id = ?', [attempt, workspaceId]);
}

/** What a settled attempt leaves in the delivery row. Absent fields stay as they are. */
export interface DeliveryChange {
  present?: HeldSet | null;
  staged?: DeliveryState['staged'];
  applying?: { attempt: number } | null;
  announced?: Outcome | null;
  restartRequested?: DeliveryState['restartRequested'];
  lapsesAnnounced?: readonly string[];
  restartOwed?: number | null;
  restartDueAt?: Date | null;
  restartsAsked?: readonly Date[];
  assetsVersion?: number;
  parkedCode?: string | null;
  probeDue?: boolean;
  probedAt?: Date;
  drifted?: DeliveryState['drifted'];
}

const columns: Readonly<Record<keyof DeliveryChange, string>> = {
  present: 'present', staged: 'staged', applying: 'applying', announced: 'announced', restartRequested: 'restart_requested',
  lapsesAnnounced: 'lapses_announced', restartOwed: 'restart_owed', restartDueAt: 'restart_due_at', restartsAsked: 'restarts_asked', assetsVersion: 'assets_version', parkedCode: 'parked_code',
  probeDue: 'probe_due', probedAt: 'probed_at', drifted: 'drifted',
};
const asJson = new Set<string>(['present', 'staged', 'applying', 'announced', 'restartRequested', 'drifted']);

export async function writeDelivery(trx: Transaction, workspaceId: WorkspaceId, change: DeliveryChange): Promise<void> {
  const values = Object.fromEntries(Object.entries(change).map(([field, value]) => [
    columns[field as keyof DeliveryChange], // Object.entries forgets the key type
    asJson.has(field) && value !== null ? JSON.stringify(value) : value,
  ]));
  await trx('deliveries').where({ workspace_id: workspaceId }).update(values);
}

/** Which earlier releases have copies in `aside/` of this attempt. Nothing when a later attempt has taken over: it fences. */
export async function writeWaiting(trx: Transaction, workspaceId: WorkspaceId, attempt: number, waiting: DeliveryState['waiting']): Promise<void> {
  await trx.raw('update deliveries set waiting = ? where workspace_id = ? and attempt = ?', [JSON.stringify(waiting), workspaceId, attempt]);
}

/** The items that the workspace holds, has staged or is applying: who of them changes wakes it. */
export async function writeHeldItems(trx: Transaction, workspace: Pick<WorkspaceState, 'workspaceId' | 'orgId'>, items: readonly ItemId[]): Promise<void> {
  const held = arrayOf([...new Set(items)]);
  await trx.raw(
    `with gone as (
       delete from workspace_items where workspace_id = ? and via = 'held' and item_id <> all(?::text[])
     )
     insert into workspace_items (item_id, workspace_id, via, org_id)
     select item_id, ?, 'held', ? from unnest(?::text[]) item_id order by 1 on conflict do nothing`,
    [workspace.workspaceId, held, workspace.workspaceId, workspace.orgId, held],
  );
}

/** A file of a release at its path on the volume. */
export interface Receipt {
  readonly path: string;
  readonly sha256: Sha256;
  readonly itemId: ItemId;
  readonly version: Version;
}

/** What was, or may have been, delivered to a workspace, and the folders of ours. */
export interface Receipts {
  readonly files: readonly Receipt[];
  readonly directories: readonly string[];
}

export async function readReceipts(trx: Transaction, workspaceId: WorkspaceId): Promise<Receipts> {
  const { rows: files } = await trx.raw<{ rows: Receipt[] }>(
    'select path, sha256, item_id as "itemId", version from receipts where workspace_id = ? order by path, sha256', [workspaceId],
  );
  const { rows: directories } = await trx.raw<{ rows: { path: string }[] }>(
    'select path from receipt_directories where workspace_id = ? order by path', [workspaceId],
  );
  return { files, directories: directories.map((row) => row.path) };
}

/** Receipts become the union of what they were and `added` (permit), so that a crash before finish loses none. */
export async function addReceipts(trx: Transaction, workspaceId: WorkspaceId, added: readonly Receipt[], directories: readonly string[]): Promise<void> {
  await trx.raw(
    `with ours as (
       insert into receipt_directories (workspace_id, path) select ?, path from unnest(?::text[]) path on conflict do nothing
     )
     insert into receipts (workspace_id, path, sha256, item_id, version)
     select ?, r.path, r.sha256, r.item_id, r.version
     from unnest(?::text[], ?::text[], ?::text[], ?::text[]) as r(path, sha256, item_id, version) order by r.path, r.sha256
     on conflict (workspace_id, path, sha256) do update set item_id = excluded.item_id, version = excluded.version`,
    [
      workspaceId, arrayOf(directories), workspaceId, arrayOf(added.map((receipt) => receipt.path)), arrayOf(added.map((receipt) => receipt.sha256)),
      arrayOf(added.map((receipt) => receipt.itemId)), arrayOf(added.map((receipt) => receipt.version)),
    ],
  );
}

/** Digests by path, as the file work wants them. */
export function digestsByPath(receipts: readonly Receipt[]): DigestsByPath {
  return new Map([...Map.groupBy(receipts, (receipt) => receipt.path)].map(([path, of]) => [path, of.map((receipt) => receipt.sha256)]));
}

/** Nothing of ours is at these paths any more (removal). */
export async function deleteReceipts(trx: Transaction, workspaceId: WorkspaceId, paths: readonly string[], directories: readonly string[]): Promise<void> {
  await trx.raw('delete from receipts where workspace_id = ? and path = any(?::text[])', [workspaceId, [...paths]]);
  await trx.raw('delete from receipt_directories where workspace_id = ? and path <> all(?::text[])', [workspaceId, [...directories]]);
}

/** Receipts become exactly `kept` (finish). */
export async function replaceReceipts(trx: Transaction, workspaceId: WorkspaceId, kept: readonly Receipt[], directories: readonly string[]): Promise<void> {
  await trx.raw(
    `with gone as (
       delete from receipts r where workspace_id = ? and not exists (
         select from unnest(?::text[], ?::text[]) as k(path, sha256) where k.path = r.path and k.sha256 = r.sha256)
     )
     delete from receipt_directories where workspace_id = ? and path <> all(?::text[])`,
    [workspaceId, arrayOf(kept.map((receipt) => receipt.path)), arrayOf(kept.map((receipt) => receipt.sha256)), workspaceId, arrayOf(directories)],
  );
}

/** Stores an attempt with its plan before anything of it happens. */
export async function insertAttempt(
  trx: Transaction, row: { attempt: number; workspace: WorkspaceState; n: number; plan: unknown },
): Promise<void> {
  await trx.raw(
    'insert into attempts (attempt, workspace_id, org_id, n, plan) values (?, ?, ?, ?, ?)',
    [row.attempt, row.workspace.workspaceId, row.workspace.orgId, row.n, JSON.stringify(row.plan)],
  );
}

/** What came of an attempt. It stays open until its folder on the volume is settled. */
export async function noteOutcome(trx: Transaction, attempt: number, end: { outcome: string; code?: string | null; detail?: string }): Promise<void> {
  await trx.raw('update attempts set outcome = ?, code = ?, detail = ? where attempt = ?', [end.outcome, end.code ?? null, end.detail ?? null, attempt]);
}

/** Nothing of these attempts is left on the volume but what the delivery row says. */
export async function closeAttempts(trx: Transaction, workspaceId: WorkspaceId, attempts: { upTo: number }): Promise<void> {
  await trx.raw(
    `update attempts set ended_at = clock_timestamp(), outcome = coalesce(outcome, 'abandoned')
     where workspace_id = ? and attempt <= ? and ended_at is null`, [workspaceId, attempts.upTo],
  );
}

/** Nothing of this one is on the volume; what earlier ones left is another matter. */
export async function closeAttempt(trx: Transaction, attempt: number): Promise<void> {
  await trx.raw(
    `update attempts set ended_at = clock_timestamp(), outcome = coalesce(outcome, 'abandoned') where attempt = ? and ended_at is null`, [attempt],
  );
}

/** What an attempt may move aside, stored before it moves anything. */
export async function writeAside(trx: Transaction, attempt: number, aside: AsideRecord): Promise<void> {
  await trx.raw('update attempts set aside = ? where attempt = ?', [JSON.stringify(aside), attempt]);
}

/** The records of these attempts of this workspace: a folder that a tenant named after another's attempt has none. */
export async function readAsides(trx: Transaction, workspaceId: WorkspaceId, attempts: readonly number[]): Promise<AsideRecord[]> {
  const { rows } = await trx.raw<{ rows: { aside: AsideRecord }[] }>(
    'select aside from attempts where workspace_id = ? and attempt = any(?::bigint[]) and aside is not null', [workspaceId, [...attempts]],
  );
  return rows.map((row) => row.aside);
}

/** A restored database is not behind by more attempts than this; a tenant who makes a folder of that name would like it to be. */
const attemptsBehindMax = 10_000_000;

/**
 * Makes the next attempt number greater than `highest`: a restored database may be behind the volume (I26). False, and
 * nothing is changed, when no restore explains the number.
 */
export async function raiseAttemptNumbers(trx: Transaction, highest: number): Promise<boolean> {
  // Never set where it is high enough already: a number drawn meanwhile would be drawn again.
  const { rows: [row] } = await trx.raw<{ rows: { isPlausible: boolean }[] }>(
    `select ?::bigint <= last_value + ? as "isPlausible", case when ?::bigint between last_value + 1 and last_value + ?
       then setval('attempt_numbers', ?::bigint) end
     from attempt_numbers`,
    [highest, attemptsBehindMax, highest, attemptsBehindMax, highest],
  );
  return row?.isPlausible === true;
}
