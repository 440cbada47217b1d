import { appendAudit } from '../process/audit.ts';
import { tx, type Database } from '../process/database.ts';
import { asFailure } from '../process/failure.ts';
import { lockOrgItems } from '../process/locks.ts';
import type { Logger } from '../process/log.ts';
import { pause } from '../process/pause.ts';
import { announce } from './announce.ts';
import { pairKeyOf } from './line.ts';
import { findDuePairs, loadLines, msUntilNextDue, readClock, stillDue } from './sql.ts';

/** Pairs announced in one transaction at most. */
const batchMax = 500;
/** Longest wait between two looks: a fold may have stored a nearer moment since. */
const lookEveryMs = 1_000;
const pauseMs = 2_000;

/**
 * Announces validities that have begun or ended, until the signal is aborted (A7). It only tells: a fetch outside its
 * validity is refused by the database's clock, whether this runs or not, and no entitlement_version is minted. Any number
 * of these may run. A dependency that is unwell is waited for; any other failure rejects.
 */
export async function runExpiry({ database, signal, log }: { database: Database; signal: AbortSignal; log: Logger }): Promise<void> {
  while (!signal.aborted) {
    let waitMs: number;
    try {
      const announced = await announceDue(database);
      if (announced > 0) log.info({ announced }, 'validities began or ended');
      waitMs = announced === batchMax ? 0 : Math.min(lookEveryMs, await msUntilNextDue(database) ?? lookEveryMs);
    } catch (thrown) {
      const failure = asFailure(thrown);
      if (failure.kind !== 'dependency') throw failure;
      log.warn({ code: failure.code, error: failure.message }, 'expiry waits: PostgreSQL is unwell');
      waitMs = pauseMs;
    }
    await pause(waitMs, signal);
  }
}

/** Announces up to 500 due pairs in one transaction. Out: how many were found due; fewer than 500 means that was all. */
export async function announceDue(database: Database): Promise<number> {
  return await tx(database, async (trx) => {
    const found = await findDuePairs(trx, batchMax);
    if (found.length === 0) return 0;
    await lockOrgItems(trx, found.map(({ orgId, itemId }) => ({ org_id: orgId, item_id: itemId })), 'exclusive');
    // Another emitter or a fold may have been faster while this one waited for the locks.
    const due = await stillDue(trx, found);
    const lines = await loadLines(trx, due);
    await appendAudit(trx, due.map((pair) => ({
      subjectKind: 'expiry', subjectId: pairKeyOf(pair), orgId: pair.orgId, action: 'announce', outcome: 'due',
    })));
    await announce(trx, due.map((pair) => ({ ...pair, causedBy: null })), lines, await readClock(trx));
    return found.length;
  });
}
