import { randomBytes } from 'node:crypto';

import { writeRecords } from '../../delivery/fold-records.ts';
import { recordOf, type RecordEvent } from '../../delivery/workspace-record.ts';
import { compareVersioned, type Versioned } from '../../entitlements/decide.ts';
import { effectiveEntitlement } from '../../entitlements/effective.ts';
import { lineKeyOf, lineOf, pairKeyOf, type LineEvent } from '../../entitlements/line.ts';
import { loadLines, readClock, writeLines, type Pair } from '../../entitlements/sql.ts';
import { tx, type Database, type Transaction } from '../../process/database.ts';
import type { TypedEvent } from '../../schemas/topics.ts';
import type { ReplayTopic } from '../log/replay-request.ts';

/** The tables that are rebuilt from the log, each under the same name in the shadow. */
export const projected = ['entitlement_lines', 'entitlements', 'workspace_records'] as const;

/** A schema with empty tables of the projection, beside the live ones. */
export interface Shadow {
  readonly schema: string;
  /** The schema of the live tables. */
  readonly live: string;
}

/** Shadows of rebuilds that died are removed after this many hours. */
const orphanHours = 24;
const pairsAtOnce = 2_000;

export async function createShadow(database: Database): Promise<Shadow> {
  const schema = `waybill_shadow_${randomBytes(6).toString('hex')}`;
  return await tx(database, async (trx) => {
    const { rows: [found] } = await trx.raw<{ rows: { live: string }[] }>('select current_schema() as live');
    const live = found?.live ?? 'public';
    await dropOrphans(trx);
    await trx.raw('create schema ??', [schema]);
    await trx.raw(`comment on schema ?? is '${new Date().toISOString()}'`, [schema]);
    for (const table of projected) await trx.raw('create unlogged table ??.?? (like ??.?? including defaults including indexes including storage)', [schema, table, live, table]);
    return { schema, live };
  });
}

async function dropOrphans(trx: Transaction): Promise<void> {
  const { rows } = await trx.raw<{ rows: { name: string }[] }>(
    `select nspname as name from pg_namespace where nspname like 'waybill\\_shadow\\_%'
       and obj_description(oid, 'pg_namespace')::timestamptz < clock_timestamp() - interval '${orphanHours} hours'`,
  );
  for (const { name } of rows) await trx.raw('drop schema if exists ?? cascade', [name]);
}

export async function dropShadow(database: Database, { schema }: Shadow): Promise<void> {
  await tx(database, async (trx) => { await trx.raw('drop schema if exists ?? cascade', [schema]); });
}

/** A transaction in which the projection's tables are those of the shadow, and everything else is live. */
async function inShadow<T>(database: Database, { schema, live }: Shadow, work: (trx: Transaction) => Promise<T>): Promise<T> {
  return await tx(database, async (trx) => {
    await trx.raw('set local search_path to ??, ??', [schema, live]);
    return await work(trx);
  });
}

/**
 * Folds events into the shadow: the greatest of each key, by the one order (A6), and by the guard of the live statement over
 * what the shadow has. No lock is needed, because nobody else writes there.
 */
export async function foldIntoShadow(database: Database, shadow: Shadow, topic: ReplayTopic, events: readonly TypedEvent[]): Promise<void> {
  if (events.length === 0) return;
  if (topic === 'marketplace.entitlements') {
    // The codec gives each topic only events of its own.
    const winners = greatest(events as readonly LineEvent[], lineOf, lineKeyOf);
    await inShadow(database, shadow, async (trx) => { await writeLines(trx, winners.map(({ state, event }) => ({ line: state, eventId: event.event.event_id }))); });
  } else {
    const winners = greatest(events as readonly RecordEvent[], recordOf, ({ workspaceId }) => workspaceId); // likewise
    await inShadow(database, shadow, async (trx) => { await writeRecords(trx, winners.map(({ state, event }) => ({ record: state, eventId: event.event.event_id }))); });
  }
}

function greatest<E, S extends Versioned>(events: readonly E[], stateOf: (event: E) => S, keyOf: (state: S) => string): { state: S; event: E }[] {
  const best = new Map<string, { state: S; event: E }>();
  for (const event of events) {
    const state = stateOf(event);
    const key = keyOf(state);
    const before = best.get(key);
    if (before === undefined || compareVersioned(state, before.state) > 0) best.set(key, { state, event });
  }
  return [...best.values()];
}

/** What the lines of the shadow add up to now: its (org, item) state, page by page. */
export async function sumUpShadow(database: Database, shadow: Shadow): Promise<void> {
  await inShadow(database, shadow, async (trx) => { await trx.raw('truncate entitlements'); });
  for (let after: Pair | undefined; ;) {
    const page = await inShadow(database, shadow, async (trx) => await sumUpPage(trx, after));
    after = page.at(-1);
    if (after === undefined) return;
  }
}

async function sumUpPage(trx: Transaction, after: Pair | undefined): Promise<Pair[]> {
  const { rows: pairs } = await trx.raw<{ rows: Pair[] }>(
    `select distinct org_id as "orgId", item_id as "itemId" from entitlement_lines
     where ?::uuid is null or (org_id, item_id) > (?::uuid, ?::text) order by 1, 2 limit ?`,
    [after?.orgId ?? null, after?.orgId ?? null, after?.itemId ?? null, pairsAtOnce],
  );
  const lines = Map.groupBy(await loadLines(trx, pairs), pairKeyOf);
  const now = await readClock(trx);
  const states = pairs.map((pair) => ({ ...pair, ...effectiveEntitlement(lines.get(pairKeyOf(pair)) ?? [], now) }));
  await trx.raw(
    `insert into entitlements (org_id, item_id, entitled, policy, valid_until, reason, next_change_at)
     select "orgId", "itemId", entitled, policy, timestamptz 'epoch' + "validUntil" * interval '1 ms', reason, timestamptz 'epoch' + "nextChangeAt" * interval '1 ms'
     from jsonb_to_recordset(?::jsonb) as r("orgId" uuid, "itemId" text, entitled boolean, policy text, "validUntil" bigint, reason text, "nextChangeAt" bigint)`,
    [JSON.stringify(states)],
  );
  return pairs;
}
