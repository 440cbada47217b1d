import { followRecords, loadRecords } from '../../delivery/fold-records.ts';
import { announce } from '../../entitlements/announce.ts';
import { loadLines, readClock } from '../../entitlements/sql.ts';
import { appendAudit } from '../../process/audit.ts';
import type { Database, Transaction } from '../../process/database.ts';
import { lockOrgItems } from '../../process/locks.ts';
import { parseItemId, parseOrgId } from '../../schemas/ids.ts';
import { driveRun, type Driven, type DriveOptions, type RunControl } from '../run/drive-run.ts';
import type { ItemEnd } from '../run/item-page.ts';
import { loadItems, loadRun, requirePlanIntact } from '../run/runs.ts';
import { rowDigest, type Difference } from './compare.ts';

/**
 * Makes the live rows that a rebuild found wrong what the log says, one by one: only where the live row is still the one that
 * was listed, digest for digest, so that what live traffic changed meanwhile stands (D2). What depends on a row is announced
 * and woken in the same transaction.
 * @throws Failure input PLAN_CHANGED, RUN_LEASED, NOT_FOUND, STALE_VERSION
 */
export async function repairRebuild(database: Database, runId: string, options: DriveOptions): Promise<Driven> {
  await requirePlanIntact(database, await loadRun(database, runId, ['rebuild']));
  return await driveRun(database, runId, options, async (control) => {
    for (;;) {
      const page = await loadItems(database, runId, { state: 'planned', limit: 500 });
      if (page.length === 0) return;
      for (const item of page) {
        await control.gate();
        await control.commit(async (trx) => {
          const end = await repairRow(trx, control, item.plan as Difference); // a plan of this kind
          await trx.raw('update run_items set state = ?, code = ? where run_id = ? and line = ?', [end.state, end.code ?? null, runId, item.line]);
          return end.state === 'ok' ? { ok: 1 } : { skipped: 1 };
        });
      }
    }
  });
}

async function repairRow(trx: Transaction, control: RunControl, difference: Difference): Promise<ItemEnd> {
  await trx.raw(`set local time zone 'UTC'`);
  const { table, key, live, log } = difference;
  const run = { runId: control.lease.runId, lane: 'replay' } as const;
  if (table === 'workspace_records') {
    // Records are not deleted while roles run: one that the log does not have is a person's matter.
    if (log === null) return { state: 'skipped', code: 'NOT_FOUND' };
    await trx.raw('select from workspace_records where workspace_id = ?::uuid for update', [key]);
    if (!(await isStillListed(trx, difference))) return { state: 'skipped', code: 'PLAN_CHANGED' };
    await replaceRow(trx, difference);
    const standing = await loadRecords(trx, [key]);
    const written = [...standing.values()];
    await audit(trx, 'workspace', key, run.runId, difference);
    await followRecords(trx, { seen: written, standing, written }, run);
    return { state: 'ok' };
  }
  const row = log ?? live ?? {};
  const pair = { orgId: parseOrgId(row['org_id']), itemId: parseItemId(row['item_id']) };
  await lockOrgItems(trx, [{ org_id: pair.orgId, item_id: pair.itemId }], 'exclusive');
  if (!(await isStillListed(trx, difference))) return { state: 'skipped', code: 'PLAN_CHANGED' };
  if (table === 'entitlement_lines') await replaceRow(trx, difference);
  await audit(trx, 'line', key, run.runId, difference);
  // The state of a pair is summed up anew from its lines, whatever stood there.
  await announce(trx, [{ ...pair, causedBy: null }], await loadLines(trx, [pair]), await readClock(trx), run);
  return { state: 'ok' };
}

/** Whether the live row is the one that was compared. */
async function isStillListed(trx: Transaction, { table, live, log, liveDigest }: Difference): Promise<boolean> {
  const { sql, values } = keyCondition(table, log ?? live ?? {});
  const { rows } = await trx.raw<{ rows: { digest: string }[] }>(`select ${rowDigest} as digest from ${table} t where ${sql}`, values);
  return (rows[0]?.digest ?? null) === liveDigest;
}

/** Writes the row of the log over the live one, or deletes the line that the log does not have. */
async function replaceRow(trx: Transaction, { table, live, log, logEvent }: Difference): Promise<void> {
  if (log === null) {
    const { sql, values } = keyCondition(table, live ?? {});
    await trx.raw(`delete from ${table} t where ${sql}`, values);
    return;
  }
  const row = { ...log, event_id: logEvent };
  const columns = Object.keys(row).map((column) => `"${column}"`); // of our own table, as PostgreSQL wrote them
  await trx.raw(
    `insert into ${table} (${columns.join(', ')}) select ${columns.join(', ')} from jsonb_populate_record(null::${table}, ?::jsonb)
     on conflict (${keyColumns[table].map(([column]) => column).join(', ')}) do update set ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}`,
    [JSON.stringify(row)],
  );
}

const keyColumns: Readonly<Record<Difference['table'], readonly (readonly [column: string, type: string])[]>> = {
  workspace_records: [['workspace_id', 'uuid']],
  entitlements: [['org_id', 'uuid'], ['item_id', 'text']],
  entitlement_lines: [['org_id', 'uuid'], ['item_id', 'text'], ['purchase_id', 'text']],
};

const keyCondition = (table: Difference['table'], row: Readonly<Record<string, unknown>>): { sql: string; values: string[] } => ({
  sql: keyColumns[table].map(([column, type]) => `t.${column} = ?::${type}`).join(' and '), values: keyColumns[table].map(([column]) => String(row[column])),
});

async function audit(trx: Transaction, subjectKind: 'workspace' | 'line', subjectId: string, run: string, { table, liveDigest, log }: Difference): Promise<void> {
  await appendAudit(trx, [{ subjectKind, subjectId, action: 'rebuild repair', outcome: log === null ? 'deleted' : 'replaced', detail: { run, table, liveDigest } }]);
}
