import type { Database } from '../process/database.ts';
import { asFailure } from '../process/failure.ts';
import type { Logger } from '../process/log.ts';
import { pause } from '../process/pause.ts';
import type { WorkspaceCaller } from './identity.ts';

/** How long a used proof is remembered, in seconds: twice as long as its age lets it pass. */
const keptSeconds = 120;
/** Rest between two prunings, in milliseconds, and most rows that one takes. */
const pruneEveryMs = 30_000;
const pruneRowsMax = 10_000;

/** Milliseconds since the epoch, by the database's clock. */
export async function readClock(database: Database): Promise<number> {
  const { rows: [row] } = await database.raw<{ rows: [{ now: number }] }>('select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now');
  return row.now;
}

export interface UsedProof {
  readonly isFirstUse: boolean;
  /** The record of the caller's workspace; undefined: none has arrived. */
  readonly record: { readonly orgId: string; readonly epoch: number; readonly removed: boolean } | undefined;
}

/** Records the one use of a proof, for all processes of the door, and reads the record of the workspace that it is of. */
export async function useProof(database: Database, digest: Buffer, { workspaceId }: WorkspaceCaller): Promise<UsedProof> {
  const { rows: [row] } = await database.raw<{ rows: [{ used: number; orgId: string | null; epoch: number; removed: boolean }] }>(
    `with used as (
       insert into dpop_proofs (proof, expires_at) values (?, clock_timestamp() + make_interval(secs => ${String(keptSeconds)}))
       on conflict do nothing returning 1)
     select (select count(*) from used)::int as used, r.org_id as "orgId", r.epoch, r.removed
     from (select 1) one left join workspace_records r on r.workspace_id = ?`, [digest, workspaceId],
  );
  const { orgId, epoch, removed } = row;
  return { isFirstUse: row.used === 1, record: orgId === null ? undefined : { orgId, epoch, removed } };
}

/** Removes proofs that their age refuses, until the signal aborts. A database that is away is asked again. */
export async function pruneProofs(database: Database, log: Logger, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await pruneProofsOnce(database);
    } catch (error) {
      const { code, message } = asFailure(error);
      log.warn({ code }, `used proofs were not pruned: ${message}`);
    }
    await pause(pruneEveryMs, signal);
  }
}

export async function pruneProofsOnce(database: Database): Promise<void> {
  await database.raw(
    `delete from dpop_proofs where proof in (
       select proof from dpop_proofs where expires_at < clock_timestamp() order by expires_at limit ${String(pruneRowsMax)} for update skip locked)`,
  );
}
