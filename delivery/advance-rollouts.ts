import { loadOpenRollouts, shareOf, type Rollout } from '../catalogue/rollout-rows.ts';
import { applyStep } from '../catalogue/rollouts.ts';
import { decideRollout, percent } from '../catalogue/rollout.ts';
import { tx, type Database } from '../process/database.ts';
import { asFailure } from '../process/failure.ts';
import type { Logger } from '../process/log.ts';
import { pause } from '../process/pause.ts';
import { codes } from '../schemas/codes.ts';
import { measureProgress } from './rollout-progress.ts';

/** Between two looks at the rollouts that run; a look at 100,000 workspaces takes about a second (docs/figures/fan-out.md). */
const lookEveryMs = 5_000;
const unwellPauseMs = 2_000;

/** A rollout that has moved on, as it stands now. */
export interface MovedRollout {
  readonly rollout: Rollout;
  readonly why: string;
}

/**
 * Looks at every running rollout once: measures its step, decides, and carries that out if it still stands so. Any number of
 * processes may do it at the same time.
 */
export async function advanceRollouts(database: Database): Promise<MovedRollout[]> {
  const open = await tx(database, async (trx) => await loadOpenRollouts(trx));
  const moved: MovedRollout[] = [];
  for (const rollout of open.filter(({ state }) => state === 'running')) {
    const progress = await tx(database, async (trx) => await measureProgress(trx, rollout));
    const decision = decideRollout(rollout, progress, rollout.failuresKnown);
    if (decision.act === 'wait') continue;
    const why = decision.act === 'halt' ? decision.why : `${progress.settled} workspaces settled, ${progress.failed} refused`;
    const now = await applyStep(database, rollout, { act: decision.act, why });
    if (now !== undefined) moved.push({ rollout: now, why });
  }
  return moved;
}

/** Advances rollouts over and over until the signal aborts. A dependency that is unwell is waited for. */
export async function runRollouts({ database, signal, log }: { database: Database; signal: AbortSignal; log: Logger }): Promise<void> {
  while (!signal.aborted) {
    let pauseMs = lookEveryMs;
    try {
      for (const { rollout, why } of await advanceRollouts(database)) say(rollout, why, log);
    } catch (error) {
      const failure = asFailure(error);
      if (failure.kind !== 'dependency') throw error;
      log.warn({ code: failure.code, cure: failure.cure }, `rollouts wait: ${failure.message}`);
      pauseMs = unwellPauseMs;
    }
    await pause(pauseMs, signal);
  }
}

function say(rollout: Rollout, why: string, log: Logger): void {
  const { itemId, channel, from, to, state } = rollout;
  const about = { item: itemId, channel, from, to, share: shareOf(rollout) };
  const move = `the move of ${channel} of ${itemId} from ${from} to ${to}`;
  // A person has to decide how it goes on.
  if (state === 'halted') log.error({ ...about, code: 'ROLLOUT_HALTED', cure: codes.ROLLOUT_HALTED.cure }, `${move} halts at ${percent(shareOf(rollout))}: ${why}`);
  else log.info(about, state === 'done' ? `${move} is done: ${why}` : `${move} goes on to ${percent(shareOf(rollout))}: ${why}`);
}
