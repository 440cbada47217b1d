import { tx, type Database, type Transaction } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import type { Controls } from './throttle.ts';

/** A process that has a run: every write of the run names its fence. */
export interface Lease {
  readonly runId: string;
  readonly fence: number;
}

/** What the holder is told when it renews: what people asked for since. */
export interface Renewed {
  readonly wish: 'pause' | 'abort' | null;
  readonly controls: Controls;
}

/** After this many milliseconds of silence another process may take the run over. */
export const leaseMs = 15_000;

/** RUN_LEASED (input): another process has the run, or took it over. */
const leased = (runId: string, what: string): Failure => new Failure('input', 'RUN_LEASED', `Run ${runId} ${what}`);

/**
 * Takes a run that nobody holds, whatever became of its last holder: the fence grows, so that a holder that was only silent
 * is refused from now on. Answered and lost, it is taken again when it has run out. The state becomes running.
 * @throws Failure input NOT_FOUND, RUN_LEASED, STALE_VERSION (over already)
 */
export async function acquireLease(database: Database, runId: string, holder: string): Promise<Lease> {
  return await tx(database, async (trx) => {
    const { rows: [run] } = await trx.raw<{ rows: { state: string; holder: string | null; held: boolean }[] }>(
      'select state, holder, lease_until > clock_timestamp() as held from runs where run_id = ? for update', [runId],
    );
    if (run === undefined) throw new Failure('input', 'NOT_FOUND', `There is no run ${runId}.`);
    if (run.held) throw leased(runId, `is being run by ${run.holder ?? 'another process'}; after ${leaseMs / 1000} s of its silence it can be taken over.`);
    if (run.state === 'done' || run.state === 'aborted') throw new Failure('input', 'STALE_VERSION', `Run ${runId} is ${run.state}: it does not go on. Make a new plan.`);
    const { rows: [taken] } = await trx.raw<{ rows: { fence: number }[] }>(
      `update runs set fence = fence + 1, lease_until = clock_timestamp() + ? * interval '1 millisecond', holder = ?, state = 'running', wish = null,
         throttled = null, stopped_by = null, started_at = coalesce(started_at, clock_timestamp())
       where run_id = ? returning fence`, [leaseMs, holder, runId],
    );
    return { runId, fence: taken?.fence ?? 0 };
  });
}

/** The holder is still at it. `throttled`: why it waits, for others to see. @throws Failure input RUN_LEASED */
export async function renewLease(database: Database, { runId, fence }: Lease, throttled: string | null): Promise<Renewed> {
  return await tx(database, async (trx) => {
    const { rows: [row] } = await trx.raw<{ rows: Renewed[] }>(
      `update runs set lease_until = clock_timestamp() + ? * interval '1 millisecond', throttled = ? where run_id = ? and fence = ? returning wish, controls`,
      [leaseMs, throttled, runId, fence],
    );
    if (row === undefined) throw leased(runId, 'was taken over by another process; this one writes nothing more.');
    return row;
  });
}

/** First statement of every transaction that writes for a run: whoever took the run over is not overtaken. @throws Failure input RUN_LEASED */
export async function requireFence(trx: Transaction, { runId, fence }: Lease): Promise<void> {
  const { rows } = await trx.raw<{ rows: unknown[] }>('select from runs where run_id = ? and fence = ? for update', [runId, fence]);
  if (rows.length === 0) throw leased(runId, 'was taken over by another process; this one writes nothing more.');
}

/** The same where the record is: the newest lease that the other database has heard of (D5). Called before the first write there. */
export async function raiseFence(controlPlane: Database, { runId, fence }: Lease): Promise<void> {
  await tx(controlPlane, async (trx) => {
    const { rows } = await trx.raw<{ rows: unknown[] }>(
      `insert into waybill_run_fences as held (run_id, fence) values (?, ?)
       on conflict (run_id) do update set fence = excluded.fence where held.fence <= excluded.fence returning fence`, [runId, fence],
    );
    if (rows.length === 0) throw leased(runId, 'was taken over by another process; this one writes nothing more.');
  });
}

/** First statement of every transaction in the control plane's database. @throws Failure input RUN_LEASED */
export async function requireFenceThere(trx: Transaction, { runId, fence }: Lease): Promise<void> {
  const { rows } = await trx.raw<{ rows: unknown[] }>('select from waybill_run_fences where run_id = ? and fence = ? for update', [runId, fence]);
  if (rows.length === 0) throw leased(runId, 'was taken over by another process; this one writes nothing more.');
}

export type EndState = 'paused' | 'aborted' | 'done' | 'failed';

/** The holder lets go. Nothing happens where another one has it by now. */
export async function releaseLease(database: Database, { runId, fence }: Lease, state: EndState, stoppedBy: string | null): Promise<void> {
  await tx(database, async (trx) => {
    await trx.raw(
      `update runs set state = ?, lease_until = '-infinity', wish = null, throttled = null, stopped_by = ?,
         ended_at = case when ? in ('done', 'aborted') then clock_timestamp() end
       where run_id = ? and fence = ?`, [state, stoppedBy, state, runId, fence],
    );
  });
}
