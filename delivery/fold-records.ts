import { baselineName } from '../catalogue/baseline-items.ts';
import { appliedOf, bucketOf, countBuckets, foldBatch, type BatchResult, type Folded } from '../entitlements/decide.ts';
import { appendAudit, type AuditRow } from '../process/audit.ts';
import type { Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { wakeInLanes, type Lane, type RunCause } from '../process/pending.ts';
import { asksForAnything, namedItems, recordOf, type RecordEvent, type WorkspaceRecord } from './workspace-record.ts';

/**
 * Folds a batch of workspace events: locks the records, decides, writes those that won, their audit, the delivery rows of
 * workspaces that ask for something, the items that they name, and last the wakes (A3, A4, A6, C6, C12). In the caller's
 * transaction, which already holds the consumer's position; the number of statements does not depend on the batch.
 * `run`: what a replay causes carries its id and waits in its lane (D1).
 * A workspace that never had a template or plugin leaves its record and its audit, nothing else (I15).
 * Out: how many events went into each bucket (I4), and every conflict (A6).
 */
export async function foldRecords(trx: Transaction, events: readonly RecordEvent[], run?: RunCause): Promise<BatchResult> {
  const held = await lockRecords(trx, [...new Set(events.map(({ event }) => event.workspace_id))]);
  const { folded, changed } = foldBatch(held, events, recordOf, (record) => record.workspaceId);

  const causes = new Map<string, string>();
  for (const { event: { event }, state, decision } of folded) {
    if (decision.kind === 'changed') causes.set(state.workspaceId, event.event_id);
  }
  const records = [...changed.values()];
  const won = await writeRecords(trx, records.map((record) => ({ record, eventId: causes.get(record.workspaceId) ?? '' })));
  if (won !== records.length) {
    // A record that did not exist cannot be locked; somebody else's first event of the workspace got in between.
    throw new Failure('dependency', 'UNAVAILABLE', `${records.length - won} of ${records.length} records were written by another consumer at the same moment; the batch is folded again.`);
  }
  await appendAudit(trx, folded.flatMap((one) => auditOf(one, run)));
  // Also of events that lost: whether a workspace ever asked for something must not depend on the order of arrival.
  await followRecords(trx, { seen: folded.map(({ state }) => state), standing: new Map([...held, ...changed]), written: records }, run);
  return { counts: countBuckets(folded), applied: appliedOf(folded), conflicts: folded.flatMap(conflictOf) };
}

/**
 * What follows from records that were written: delivery rows of workspaces that ask for something, the items that they name,
 * and last the wakes. `seen`: every record that ever was, also one that lost; `standing`: those that stand now, by id.
 */
export async function followRecords(
  trx: Transaction,
  { seen, standing, written }: { readonly seen: readonly WorkspaceRecord[]; readonly standing: ReadonlyMap<string, WorkspaceRecord>; readonly written: readonly WorkspaceRecord[] },
  run?: RunCause,
): Promise<void> {
  const begun = await insertDeliveries(trx, seen.filter(asksForAnything));
  const templated = await insertTemplated(trx, seen);
  // Had it been known before, the record that stands would have named the baseline of its runtime.
  await writeNamedItems(trx, [...new Set([...written, ...templated.flatMap((id) => standing.get(id) ?? [])])]);
  const lanes = new Map<string, Lane>([...begun, ...templated].map((workspaceId) => [workspaceId, run?.lane ?? 'live']));
  for (const record of written) lanes.set(record.workspaceId, run?.lane ?? (inBulk.has(record.origin) ? 'backfill' : 'live'));
  await wakeInLanes(trx, lanes);
}

/** Changes that come by the thousand: what one user changed is served first (D7). */
const inBulk = new Set<WorkspaceRecord['origin']>(['backfill', 'rollback', 'import']);

/** Locks the rows in one statement and reads them in a later one, which alone sees what the last holder committed. */
async function lockRecords(trx: Transaction, workspaceIds: readonly string[]): Promise<Map<string, WorkspaceRecord>> {
  await trx.raw('select 1 from workspace_records where workspace_id = any(?::uuid[]) order by workspace_id for update', [[...workspaceIds]]);
  return await loadRecords(trx, workspaceIds);
}

/** The records of these workspaces, by id; no lock. */
export async function loadRecords(trx: Transaction, workspaceIds: readonly string[]): Promise<Map<string, WorkspaceRecord>> {
  const { rows } = await trx.raw<{ rows: WorkspaceRecord[] }>(
    `select workspace_id as "workspaceId", org_id as "orgId", record_version as version, removed as ended, digest, runtime, template, plugins,
       status, delivery_mode as "deliveryMode", epoch, generation, origin
     from workspace_records where workspace_id = any(?::uuid[])`,
    [[...workspaceIds]],
  );
  return new Map(rows.map((record) => [record.workspaceId, record]));
}

/** A record to write and the event that brought it. */
export interface RecordWrite {
  readonly record: WorkspaceRecord;
  readonly eventId: string;
}

/**
 * Writes records in one statement, each only where it wins over the row that stands there: `compareVersioned` in SQL,
 * held equal by a property test. Returns how many won.
 */
export async function writeRecords(trx: Transaction, writes: readonly RecordWrite[]): Promise<number> {
  if (writes.length === 0) return 0;
  const rows = writes.map(({ record, eventId }) => ({ ...record, eventId }));
  const { rowCount } = await trx.raw<{ rowCount: number }>(
    `insert into workspace_records as held (workspace_id, org_id, runtime, template, plugins, status, delivery_mode, epoch, generation,
       record_version, removed, digest, origin, event_id)
     select r."workspaceId", r."orgId", r.runtime, r.template, r.plugins, r.status, r."deliveryMode", r.epoch, r.generation, r.version, r.ended,
       r.digest, r.origin, r."eventId"
     from jsonb_to_recordset(?::jsonb) as r("workspaceId" uuid, "orgId" uuid, runtime text, template text, plugins text[], status text,
       "deliveryMode" text, epoch bigint, generation bigint, version bigint, ended boolean, digest text, origin text, "eventId" uuid)
     order by r."workspaceId"
     on conflict (workspace_id) do update set
       org_id = excluded.org_id, runtime = excluded.runtime, template = excluded.template, plugins = excluded.plugins, status = excluded.status,
       delivery_mode = excluded.delivery_mode, epoch = excluded.epoch, generation = excluded.generation, record_version = excluded.record_version,
       removed = excluded.removed, digest = excluded.digest, origin = excluded.origin, event_id = excluded.event_id
     where (excluded.record_version, excluded.removed, excluded.digest collate "C") > (held.record_version, held.removed, held.digest collate "C")`,
    [JSON.stringify(rows)],
  );
  return rowCount;
}

/**
 * One delivery row for each workspace that asks for something and has none; returns those. NOT EXISTS so that an existing
 * row that an attempt has locked is not waited for, ON CONFLICT for the one that another inserts at this moment.
 */
async function insertDeliveries(trx: Transaction, records: readonly WorkspaceRecord[]): Promise<string[]> {
  if (records.length === 0) return [];
  const orgs = new Map(records.map((record) => [record.workspaceId, record.orgId]));
  const { rows } = await trx.raw<{ rows: { workspace_id: string }[] }>(
    `insert into deliveries (workspace_id, org_id)
     select workspace_id, org_id from unnest(?::uuid[], ?::uuid[]) as asking(workspace_id, org_id)
     where not exists (select from deliveries d where d.workspace_id = asking.workspace_id)
     order by workspace_id on conflict do nothing returning workspace_id`,
    [[...orgs.keys()], [...orgs.values()]],
  );
  return rows.map((row) => row.workspace_id);
}

/** Remembers for ever who named a template, also in an event that lost (C6); returns those that had not before. */
async function insertTemplated(trx: Transaction, records: readonly WorkspaceRecord[]): Promise<string[]> {
  const ids = [...new Set(records.filter((record) => record.template !== null).map((record) => record.workspaceId))];
  if (ids.length === 0) return [];
  const { rows } = await trx.raw<{ rows: { workspace_id: string }[] }>(
    `insert into templated_workspaces select id from unnest(?::uuid[]) id
     where not exists (select from templated_workspaces t where t.workspace_id = id) order by id on conflict do nothing returning workspace_id`, [ids],
  );
  return rows.map((row) => row.workspace_id);
}

/**
 * Makes the `named` rows of the records those that the records name, with the baseline of the runtime where a template was
 * cleared (C6); `held` rows are the attempts' own.
 */
async function writeNamedItems(trx: Transaction, records: readonly WorkspaceRecord[]): Promise<void> {
  if (records.length === 0) return;
  const named = records.flatMap((record) => namedItems(record).map((itemId) => ({ ...record, itemId })));
  const cleared = records.filter((record) => record.template === null && !record.ended);
  await trx.raw(
    `with named as materialized (
       select * from unnest(?::text[], ?::uuid[], ?::uuid[]) as named(item_id, workspace_id, org_id)
       union all
       select baseline, workspace_id, org_id from unnest(?::text[], ?::uuid[], ?::uuid[]) as cleared(baseline, workspace_id, org_id)
         join templated_workspaces using (workspace_id)
     ), gone as (
       delete from workspace_items w where w.workspace_id = any(?::uuid[]) and w.via = 'named'
         and not exists (select from named where named.workspace_id = w.workspace_id and named.item_id = w.item_id)
     )
     insert into workspace_items as w (item_id, workspace_id, via, org_id)
     select item_id, workspace_id, 'named', org_id from named order by item_id, workspace_id
     on conflict (item_id, workspace_id, via) do update set org_id = excluded.org_id where w.org_id <> excluded.org_id`,
    [
      named.map(({ itemId }) => itemId), named.map(({ workspaceId }) => workspaceId), named.map(({ orgId }) => orgId),
      cleared.map(({ runtime }) => baselineName(runtime)), cleared.map(({ workspaceId }) => workspaceId), cleared.map(({ orgId }) => orgId),
      records.map(({ workspaceId }) => workspaceId),
    ],
  );
}

/** What changed something or was in conflict is on record; that an older or repeated event did nothing is not news. */
function auditOf({ event: { type, event }, state, decision }: Folded<RecordEvent, WorkspaceRecord>, run: RunCause | undefined): AuditRow[] {
  const bucket = bucketOf(decision);
  if (bucket === 'superseded' || bucket === 'duplicate') return [];
  const lost = 'conflict' in decision ? decision.conflict : null;
  return [{
    subjectKind: 'workspace',
    subjectId: state.workspaceId,
    orgId: state.orgId,
    action: type,
    outcome: bucket,
    code: lost === null ? undefined : 'CONFLICT',
    detail: {
      // The whole record: what it was at a past time is read from here (E3).
      version: state.version, digest: state.digest, epoch: state.epoch, generation: state.generation, runtime: state.runtime, template: state.template,
      plugins: state.plugins, status: state.status, deliveryMode: state.deliveryMode, origin: state.origin, ...(lost !== null && { lost: lost.digest }), ...(run !== undefined && { run: run.runId }),
    },
    causedBy: event.event_id,
  }];
}

function conflictOf({ event: { event }, state, decision }: Folded<RecordEvent, WorkspaceRecord>): BatchResult['conflicts'] {
  if (!('conflict' in decision) || decision.conflict === null) return [];
  return [{ subject: state.workspaceId, version: state.version, eventId: event.event_id, won: decision.kind === 'changed' }];
}
