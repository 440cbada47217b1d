import type { EntitlementSource, RevokeReason } from '../schemas/generated/events.ts';
import type { ItemId, OrgId, Policy, PurchaseId } from '../schemas/ids.ts';
import { asDatabaseFailure, type Database, type Transaction } from '../process/database.ts';
import type { Lane } from '../process/pending.ts';
import { arrayOf } from '../process/sql-columns.ts';
import type { EffectiveEntitlement } from './effective.ts';
import { pairKeyOf, type Line } from './line.ts';

/** One (org, item): what is locked, judged and announced together. */
export interface Pair {
  readonly orgId: OrgId;
  readonly itemId: ItemId;
}

/** The database's clock, milliseconds since the epoch. Read it after the locks: now() stands still at BEGIN (A7, I21). */
export async function readClock(trx: Transaction): Promise<number> {
  const { rows } = await trx.raw<{ rows: [{ now: number }] }>(`select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now`);
  return rows[0].now;
}

interface LineRow {
  org_id: OrgId;
  item_id: ItemId;
  purchase_id: PurchaseId;
  version: number;
  ended: boolean;
  digest: string;
  source: EntitlementSource;
  policy: Policy;
  valid_from: number;
  valid_until: number | null;
  ended_at: number | null;
  reason: RevokeReason | null;
}

/**
 * All lines of the pairs, tombstones included, in one statement; no order. Whoever decides by them holds the (org, item)
 * locks, shared or exclusive, and took them in an earlier statement. What is in the table was parsed before it got there.
 * LATERAL with OFFSET 0 keeps the planner to one index look-up a pair, whatever the statistics of a young table say.
 */
export async function loadLines(trx: Transaction, pairs: readonly Pair[]): Promise<Line[]> {
  const { rows } = await trx.raw<{ rows: LineRow[] }>(
    `select l.org_id, l.item_id, l.purchase_id, l.entitlement_version as version, l.revoked as ended, l.digest, l.source, l.policy,
       (extract(epoch from l.valid_from) * 1000)::bigint as valid_from, (extract(epoch from l.valid_until) * 1000)::bigint as valid_until,
       (extract(epoch from l.ended_at) * 1000)::bigint as ended_at, l.reason
     from unnest(?::uuid[], ?::text[]) as pair(org_id, item_id)
     cross join lateral (select * from entitlement_lines l where l.org_id = pair.org_id and l.item_id = pair.item_id offset 0) l`,
    columnsOf(pairs),
  );
  return rows.map(({ org_id, item_id, purchase_id, valid_from, valid_until, ended_at, ...row }) => ({
    orgId: org_id, itemId: item_id, purchaseId: purchase_id, validFrom: valid_from, validUntil: valid_until, endedAt: ended_at, ...row,
  }));
}

/** A line to write and the event that brought it. */
export interface LineWrite {
  readonly line: Line;
  readonly eventId: string;
}

/**
 * Writes lines in one statement, each only where it wins over the row that stands there: `compareVersioned` in SQL, held
 * equal by a property test. Returns how many won; under the pair's exclusive lock that is all of them.
 */
export async function writeLines(trx: Transaction, writes: readonly LineWrite[]): Promise<number> {
  const { rowCount } = await trx.raw<{ rowCount: number }>(
    `insert into entitlement_lines as held (org_id, item_id, purchase_id, entitlement_version, revoked, digest, source, policy,
       valid_from, valid_until, ended_at, reason, event_id)
     select org_id, item_id, purchase_id, version, ended, digest, source, policy, timestamptz 'epoch' + valid_from * interval '1 ms',
       timestamptz 'epoch' + valid_until * interval '1 ms', timestamptz 'epoch' + ended_at * interval '1 ms', reason, event_id
     from unnest(?::uuid[], ?::text[], ?::text[], ?::bigint[], ?::boolean[], ?::text[], ?::text[], ?::text[], ?::bigint[], ?::bigint[],
       ?::bigint[], ?::text[], ?::uuid[])
       as line(org_id, item_id, purchase_id, version, ended, digest, source, policy, valid_from, valid_until, ended_at, reason, event_id)
     on conflict (org_id, item_id, purchase_id) do update set
       entitlement_version = excluded.entitlement_version, revoked = excluded.revoked, digest = excluded.digest, source = excluded.source,
       policy = excluded.policy, valid_from = excluded.valid_from, valid_until = excluded.valid_until, ended_at = excluded.ended_at,
       reason = excluded.reason, event_id = excluded.event_id
     where (excluded.entitlement_version, excluded.revoked, excluded.digest collate "C")
         > (held.entitlement_version, held.revoked, held.digest collate "C")`,
    [
      arrayOf(writes.map(({ line }) => line.orgId)), arrayOf(writes.map(({ line }) => line.itemId)), arrayOf(writes.map(({ line }) => line.purchaseId)),
      arrayOf(writes.map(({ line }) => line.version)), arrayOf(writes.map(({ line }) => line.ended)), arrayOf(writes.map(({ line }) => line.digest)),
      arrayOf(writes.map(({ line }) => line.source)), arrayOf(writes.map(({ line }) => line.policy)), arrayOf(writes.map(({ line }) => line.validFrom)),
      arrayOf(writes.map(({ line }) => line.validUntil)), arrayOf(writes.map(({ line }) => line.endedAt)), arrayOf(writes.map(({ line }) => line.reason)),
      arrayOf(writes.map(({ eventId }) => eventId)),
    ],
  );
  return rowCount;
}

/** A pair and what its lines now add up to. */
export interface PairState extends Pair {
  readonly effective: EffectiveEntitlement;
}

/**
 * Stores what the pairs add up to and mints the next revision of each, in one statement. Revisions stand in a table of
 * their own that survives a rebuild, because what we announce only grows. Returns the revision by pair key.
 */
export async function writeStates(trx: Transaction, states: readonly PairState[]): Promise<Map<string, number>> {
  const { rows } = await trx.raw<{ rows: { org_id: OrgId; item_id: ItemId; revision: number }[] }>(
    `with state as materialized (
       select * from unnest(?::uuid[], ?::text[], ?::boolean[], ?::text[], ?::bigint[], ?::text[], ?::bigint[])
         as state(org_id, item_id, entitled, policy, valid_until, reason, next_change_at)
     ), written as (
       insert into entitlements (org_id, item_id, entitled, policy, valid_until, reason, next_change_at)
       select org_id, item_id, entitled, policy, timestamptz 'epoch' + valid_until * interval '1 ms', reason,
         timestamptz 'epoch' + next_change_at * interval '1 ms'
       from state
       on conflict (org_id, item_id) do update set entitled = excluded.entitled, policy = excluded.policy,
         valid_until = excluded.valid_until, reason = excluded.reason, next_change_at = excluded.next_change_at
     )
     insert into entitlement_revisions as minted (org_id, item_id, entitlement_revision)
     select org_id, item_id, 1 from state
     on conflict (org_id, item_id) do update set entitlement_revision = minted.entitlement_revision + 1
     returning org_id, item_id, entitlement_revision as revision`,
    [
      ...columnsOf(states), arrayOf(states.map(({ effective }) => effective.entitled)), arrayOf(states.map(({ effective }) => effective.policy)),
      arrayOf(states.map(({ effective }) => effective.validUntil)), arrayOf(states.map(({ effective }) => effective.reason)),
      arrayOf(states.map(({ effective }) => effective.nextChangeAt)),
    ],
  );
  return new Map(rows.map((row) => [pairKeyOf({ orgId: row.org_id, itemId: row.item_id }), row.revision]));
}

/**
 * Revisions rise to what the topic carries, where a database that was set back has forgotten some (I26). Under the pairs'
 * exclusive locks. What the pairs add up to is folded from the log again, and announced above that.
 */
export async function raiseRevisions(trx: Transaction, pairs: readonly (Pair & { readonly revision: number })[]): Promise<void> {
  await trx.raw(
    `insert into entitlement_revisions as minted (org_id, item_id, entitlement_revision)
     select org_id, item_id, max(revision) from unnest(?::uuid[], ?::text[], ?::bigint[]) as said(org_id, item_id, revision) group by 1, 2 order by 1, 2
     on conflict (org_id, item_id) do update set entitlement_revision = greatest(minted.entitlement_revision, excluded.entitlement_revision)`,
    [...columnsOf(pairs), arrayOf(pairs.map(({ revision }) => revision))],
  );
}

/**
 * Workspaces of the org that name, hold, have staged or are applying the item, at most `limit` of all pairs together.
 * Read after the locks, before the wakes.
 */
export async function findHolders(trx: Transaction, pairs: readonly Pair[], limit: number): Promise<{ workspaceId: string; pairKey: string }[]> {
  const { rows } = await trx.raw<{ rows: { workspace_id: string; org_id: OrgId; item_id: ItemId }[] }>(
    `select distinct w.workspace_id, w.org_id, w.item_id from unnest(?::uuid[], ?::text[]) as pair(org_id, item_id)
     join workspace_items w using (org_id, item_id) limit ?`,
    [...columnsOf(pairs), limit],
  );
  return rows.map((row) => ({ workspaceId: row.workspace_id, pairKey: pairKeyOf({ orgId: row.org_id, itemId: row.item_id }) }));
}

/** One fan-out row for each pair that anybody names or holds: its workspaces are woken in pages. */
export async function insertFanouts(trx: Transaction, pairs: readonly (Pair & { readonly lane: Lane })[]): Promise<void> {
  await trx.raw(
    `insert into fanouts (org_id, item_id, lane)
     select org_id, item_id, lane from unnest(?::uuid[], ?::text[], ?::text[]) as pair(org_id, item_id, lane)
     where exists (select from workspace_items w where w.org_id = pair.org_id and w.item_id = pair.item_id)`,
    [...columnsOf(pairs), arrayOf(pairs.map(({ lane }) => lane))],
  );
}

/** Pairs for which a validity began or ended without its having been announced, the longest overdue first. */
export async function findDuePairs(trx: Transaction, limit: number): Promise<Pair[]> {
  const { rows } = await trx.raw<{ rows: Pair[] }>(
    `select org_id as "orgId", item_id as "itemId" from entitlements where next_change_at <= clock_timestamp() order by next_change_at limit ?`,
    [limit],
  );
  return rows;
}

/** Those of the pairs that are still due; read after the locks, because another emitter may have been here. */
export async function stillDue(trx: Transaction, pairs: readonly Pair[]): Promise<Pair[]> {
  const { rows } = await trx.raw<{ rows: Pair[] }>(
    `select org_id as "orgId", item_id as "itemId" from unnest(?::uuid[], ?::text[]) as pair(org_id, item_id)
     join entitlements using (org_id, item_id) where next_change_at <= clock_timestamp()`,
    columnsOf(pairs),
  );
  return rows;
}

/** Milliseconds until the next validity begins or ends; undefined when none will. */
export async function msUntilNextDue(database: Database): Promise<number | undefined> {
  try {
    const { rows } = await database.raw<{ rows: [{ ms: number | null }] }>(
      `select greatest(0, ceil(extract(epoch from min(next_change_at) - clock_timestamp()) * 1000))::bigint as ms
       from entitlements where next_change_at is not null`,
    );
    return rows[0].ms ?? undefined;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

const columnsOf = (pairs: readonly Pair[]): [string, string] => [arrayOf(pairs.map(({ orgId }) => orgId)), arrayOf(pairs.map(({ itemId }) => itemId))];
