import { tx, type Database, type Transaction } from '../../process/database.ts';
import { projected, type Shadow } from './shadow.ts';

export type ProjectedTable = (typeof projected)[number];

/** A row that is not the same on both sides, each side whole; null: it is not there. */
export interface Difference {
  readonly table: ProjectedTable;
  /** The key, its parts joined by slashes. */
  readonly key: string;
  readonly live: Readonly<Record<string, unknown>> | null;
  readonly log: Readonly<Record<string, unknown>> | null;
  readonly liveDigest: string | null;
  /** The event that brought the row of the log. */
  readonly logEvent: string | null;
}

export interface Comparison {
  readonly tables: Readonly<Record<ProjectedTable, { readonly rows: number; readonly ranges: number; readonly differingRanges: number }>>;
  /** At most `differencesMax`. */
  readonly differences: readonly Difference[];
  /** Whether there are more than are listed. */
  readonly hasMore: boolean;
}

export const differencesMax = 10_000;

const keyOf: Readonly<Record<ProjectedTable, string>> = {
  entitlement_lines: `concat_ws('/', org_id, item_id, purchase_id)`, entitlements: `concat_ws('/', org_id, item_id)`, workspace_records: 'workspace_id::text',
};

/** What counts of a row: `event_id` says which of several equal events came first, which is provenance and not state. */
const content = `to_jsonb(t) - 'event_id'`;
/** A digest of what counts; the same on both sides and whenever it is taken, in UTC. */
export const rowDigest = `encode(sha256(convert_to((${content})::text, 'UTF8')), 'hex')`;
/** What a pair adds up to is as of its last fold or expiry: one whose time has come is the emitter's to announce (A7). */
const isSettled: Readonly<Record<ProjectedTable, string>> = {
  entitlement_lines: 'true', workspace_records: 'true', entitlements: '(t.next_change_at is null or t.next_change_at > clock_timestamp())',
};

/**
 * Both sides table by table: a sum of row digests for each of 256 ranges of keys first, and only where those differ the rows
 * themselves (D2, I19). From one snapshot.
 */
export async function compareWithShadow(database: Database, shadow: Shadow): Promise<Comparison> {
  return await tx(database, async (trx) => {
    await trx.raw('set transaction isolation level repeatable read');
    await trx.raw(`set local time zone 'UTC'`);
    const tables: Partial<Record<ProjectedTable, Comparison['tables'][ProjectedTable]>> = {};
    const differences: Difference[] = [];
    for (const table of projected) {
      const ranges = await compareRanges(trx, shadow, table);
      const differing = ranges.filter(({ same }) => !same).map(({ range }) => range);
      tables[table] = { rows: ranges.reduce((sum, { rows }) => sum + rows, 0), ranges: ranges.length, differingRanges: differing.length };
      if (differing.length > 0) differences.push(...await compareRows(trx, shadow, table, differing));
    }
    return { tables: tables as Comparison['tables'], differences: differences.slice(0, differencesMax), hasMore: differences.length > differencesMax }; // each was set above
  });
}

async function compareRanges(trx: Transaction, { schema, live }: Shadow, table: ProjectedTable): Promise<{ range: string; rows: number; same: boolean }[]> {
  const side = (of: string): string => `select left(${keyOf[table]}, 2) as range, count(*) as rows,
    sum(('x' || left(${rowDigest}, 15))::bit(60)::bigint) as sum from "${of}".${table} t group by 1`;
  const { rows } = await trx.raw<{ rows: { range: string; rows: number; same: boolean }[] }>(
    `with live as (${side(live)}), log as (${side(schema)})
     select coalesce(live.range, log.range) as range, coalesce(live.rows, 0) as rows, (live.rows, live.sum) is not distinct from (log.rows, log.sum) as same
     from live full join log using (range) order by 1`,
  );
  return rows;
}

async function compareRows(trx: Transaction, { schema, live }: Shadow, table: ProjectedTable, ranges: readonly string[]): Promise<Difference[]> {
  const side = (of: string): string => `select ${keyOf[table]} as key, ${content} as row, ${rowDigest} as digest, ${isSettled[table]} as settled,
    ${table === 'entitlements' ? 'null' : 't.event_id'} as event
    from "${of}".${table} t where left(${keyOf[table]}, 2) = any(?::text[])`;
  const { rows } = await trx.raw<{ rows: { key: string; live: Difference['live']; log: Difference['log']; digest: string | null; event: string | null }[] }>(
    `with live as (${side(live)}), log as (${side(schema)})
     select key, live.row as live, log.row as log, live.digest, log.event from live full join log using (key)
     where live.digest is distinct from log.digest and coalesce(live.settled, true) order by key limit ${differencesMax + 1}`, [[...ranges], [...ranges]],
  );
  return rows.map((row) => ({ table, key: row.key, live: row.live, log: row.log, liveDigest: row.digest, logEvent: row.event }));
}
