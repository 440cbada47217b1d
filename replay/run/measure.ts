import { asDatabaseFailure, type Database } from '../../process/database.ts';
import type { Measured } from './throttle.ts';

/** Where live traffic and the run's own traces are. */
export interface Measuring {
  readonly database: Database;
  /** Absent for kinds that write nothing there. */
  readonly controlPlane?: Database | undefined;
  /** Age in milliseconds of the oldest record that a consumer has yet to read; absent where no Kafka is at hand. */
  readonly consumerLagMs?: (() => Promise<number>) | undefined;
}

const unsentAge = `select extract(epoch from clock_timestamp() - created_at) * 1000 as ms from waybill_outbox
  where sent_at is null and refused_code is null order by created_at limit 1`;

/** Live work that is due: the lanes urgent and live, claimed by nobody (process/pending.ts). */
const dueAge = `select extract(epoch from clock_timestamp() - min(at)) * 1000 as ms from pending
  where lane <= 1 and at <= clock_timestamp() and lease_until <= clock_timestamp() and not paused`;

/** How live traffic and the databases are doing now, and how many restarts this run caused within the hour (D1, D7). */
export async function measure({ database, controlPlane, consumerLagMs }: Measuring, runId: string): Promise<Measured> {
  const startedAt = performance.now();
  const ages = await Promise.all([
    ageOf(database, dueAge), ageOf(database, unsentAge), controlPlane === undefined ? 0 : ageOf(controlPlane, unsentAge),
  ]);
  const databaseMs = performance.now() - startedAt;
  const consumers = await consumerLagMs?.() ?? 0;
  return { lagMs: Math.max(0, consumers, ...ages), databaseMs, restarts: controlPlane === undefined ? 0 : await restartsOf(controlPlane, runId) };
}

async function ageOf(database: Database, sql: string): Promise<number> {
  try {
    const { rows: [row] } = await database.raw<{ rows: { ms: string | null }[] }>(sql);
    return Number(row?.ms ?? 0);
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

/** Each online workspace that was changed will be asked to restart, now or when its settle window ends. */
async function restartsOf(controlPlane: Database, runId: string): Promise<number> {
  try {
    const { rows: [row] } = await controlPlane.raw<{ rows: { restarts: number }[] }>(
      `select count(*) as restarts from waybill_run_changes where run_id = ? and changed_at > clock_timestamp() - interval '1 hour' and status = 'online'`, [runId],
    );
    return row?.restarts ?? 0;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
