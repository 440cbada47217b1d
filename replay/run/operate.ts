import { tx, type Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { auditRun, loadRun, requireReason, type Run, type RunState } from './runs.ts';
import type { Controls } from './throttle.ts';

/**
 * Asks whoever runs it to pause or abort; where nobody does, it is so at once. An aborted run does not go on, and what it
 * did stays: a rollback is another run (D6, D7).
 * @throws Failure input NOT_FOUND, STALE_VERSION (over already), FIELD_INVALID (no reason)
 */
export async function stopRun(database: Database, runId: string, wish: 'pause' | 'abort', reason: string): Promise<Run> {
  const why = requireReason(reason);
  const run = await loadRun(database, runId);
  await tx(database, async (trx) => {
    const { rows: [row] } = await trx.raw<{ rows: { state: RunState; held: boolean }[] }>(
      'select state, lease_until > clock_timestamp() as held from runs where run_id = ? for update', [runId],
    );
    const isOver = row === undefined || row.state === 'done' || row.state === 'aborted';
    if (isOver || (wish === 'pause' && !row.held && row.state !== 'running')) {
      throw new Failure('input', 'STALE_VERSION', `Run ${runId} is ${row?.state ?? 'gone'}: there is nothing to ${wish}.`);
    }
    if (row.held) await trx.raw('update runs set wish = ? where run_id = ?', [wish, runId]);
    else {
      await trx.raw(
        // The fence grows, so that a holder that is only silent does nothing more.
        `update runs set state = ?, fence = fence + 1, ended_at = case when ? = 'abort' then clock_timestamp() end where run_id = ?`,
        [wish === 'abort' ? 'aborted' : 'paused', wish, runId],
      );
    }
    await auditRun(trx, run, wish, why);
  });
  return await loadRun(database, runId);
}

/** Changes rate and thresholds of a run, also while it goes on. @throws Failure input NOT_FOUND, FIELD_INVALID */
export async function setControls(database: Database, runId: string, changes: Partial<Controls>, reason: string): Promise<Run> {
  const why = requireReason(reason);
  const given = Object.entries(changes);
  if (given.length === 0) throw new Failure('input', 'FIELD_INVALID', 'Nothing to set: give a rate or a threshold');
  for (const [name, value] of given) {
    if (!Number.isFinite(value) || value <= 0) throw new Failure('input', 'FIELD_INVALID', `${name} should be a number above 0, but is ${String(value)}`);
  }
  const run = await loadRun(database, runId);
  await tx(database, async (trx) => {
    await trx.raw('update runs set controls = controls || ?::jsonb where run_id = ?', [JSON.stringify(changes), runId]);
    await auditRun(trx, run, 'set', why, { ...changes });
  });
  return await loadRun(database, runId);
}

/** Puts on record that a person began or went on with a run, before it is done. */
export async function noteAction(database: Database, run: Pick<Run, 'runId' | 'kind'>, action: string, reason: string, detail: Readonly<Record<string, unknown>> = {}): Promise<void> {
  const why = requireReason(reason);
  await tx(database, async (trx) => { await auditRun(trx, run, action, why, detail); });
}
