import { asDatabaseFailure, type Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { loadRun } from '../run/runs.ts';
import { coverageOf, type Coverage, type CoverageRow } from './coverage.ts';

/** A workspace whose AssetsReady was said for the planned release: what the delivery row holds, not what an event claims. */
const ready = `d.present is not null and d.announced ->> 'kind' = 'ready'
  and exists (select from jsonb_array_elements(d.present -> 'items') held
    where held ->> 'itemId' = i.plan -> 'pin' ->> 'item' and held ->> 'version' = i.plan -> 'pin' ->> 'version'
      and held ->> 'archiveSha256' = i.plan -> 'pin' ->> 'archiveSha256')`;

/**
 * Tagged, already set, skipped and failed with reasons, ready, out of total (D7).
 * @throws Failure fault when the counts do not add up: no report is better than a wrong one
 */
export async function reportBackfill(database: Database, runId: string): Promise<Coverage> {
  const run = await loadRun(database, runId, ['backfill', 'rollback']);
  try {
    const { rows } = await database.raw<{ rows: (CoverageRow & { ready: number })[] }>(
      `select i.state, i.code, count(*) as count, count(*) filter (where i.state = 'ok' and ${ready}) as ready
       from run_items i left join deliveries d on d.workspace_id = i.subject::uuid where i.run_id = ? group by i.state, i.code order by i.state, i.code`, [runId],
    );
    const coverage = coverageOf(rows, run.total, rows.reduce((sum, row) => sum + row.ready, 0));
    if (coverage === undefined) throw new Failure('fault', 'FAULT', `The counts of run ${runId} do not add up to its ${run.total} workspaces: ${JSON.stringify(rows)}`);
    return coverage;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
