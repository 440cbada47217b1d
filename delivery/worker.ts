import { channel } from 'node:diagnostics_channel';

import { retryDelayMs } from '../process/backoff.ts';
import { asFailure, type Failure } from '../process/failure.ts';
import type { Logger } from '../process/log.ts';
import { createNudge, type Nudge } from '../process/nudge.ts';
import { tenantTx } from '../process/database.ts';
import { claim, deferClaim, renewClaim, type Claim } from '../process/pending.ts';
import { passStep } from '../process/steps.ts';
import { runAttempt, type DeliveryDeps } from './attempt.ts';
import { wakeNextPage } from './fan-out.ts';
import type { Code } from '../schemas/codes.ts';
import type { Decision } from './decide.ts';
import { reject } from './reject.ts';

export interface WorkerOptions {
  /** Deliveries in flight. */
  readonly atOnce: number;
  /** After this many milliseconds of silence a claim is free for others. */
  readonly leaseMs: number;
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Nudged after a commit that may have woken workspaces, the worker looks at once. */
  readonly nudge?: Nudge;
}

/** Poll delays in milliseconds: soon after work, and at rest. */
const busyPollMs = 15;
const idlePollMs = 100;
/** Longest time between two looks for pages of woken workspaces, which are seldom there. */
const fanOutEveryMs = 100;

/**
 * Claims due workspaces and delivers to them until the signal aborts; then lets the running attempts end. A fault of ours
 * rejects, so that the process stops and a supervisor starts it anew; every other failure makes its row due again.
 */
export async function runWorker(deps: DeliveryDeps, options: WorkerOptions): Promise<void> {
  const { signal, log, nudge = createNudge() } = options;
  const running = new Set<Promise<void>>();
  const fault = Promise.withResolvers<never>();
  fault.promise.catch(() => undefined); // awaited in the race below, and again at the end
  let isUnwell = false;
  let lastWorkAt = 0;
  const claimDue = createClaiming(deps, options);

  while (!signal.aborted) {
    const claims = await claimDue(running.size).catch((error: unknown) => {
      const failure = asFailure(error);
      if (failure.kind !== 'dependency') throw error;
      if (!isUnwell) log.warn({ code: failure.code, cure: failure.cure }, `deliveries wait: ${failure.message}`);
      isUnwell = true;
      return undefined;
    });
    if (claims !== undefined && isUnwell) {
      isUnwell = false;
      log.info('deliveries go on');
    }
    for (const claimed of claims ?? []) {
      passStep('claim:committed', claimed.attempt);
      lastWorkAt = performance.now();
      const attempt = deliver(deps, claimed, options.leaseMs, log).catch((error: unknown) => { fault.reject(error); }).finally(() => {
        running.delete(attempt);
        nudge.nudge(); // its place is free
      });
      running.add(attempt);
    }
    const isIdle = performance.now() - lastWorkAt > 2_000;
    await Promise.race([fault.promise, nudge.wait(isIdle || claims === undefined ? idlePollMs : busyPollMs, signal)]);
  }
  await Promise.race([fault.promise, Promise.all(running)]);
}

/** Deliveries beyond `atOnce` that only what has to go at once may use: it waits for no fetch of others (C13). */
const urgentSlots = 2;

/** Claims what is due, pages of woken workspaces first, so that their rows are there; page after page while there are any. */
function createClaiming({ database }: DeliveryDeps, { atOnce, leaseMs }: WorkerOptions): (running: number) => Promise<Claim[]> {
  let nextLookAt = 0;
  return async (running) => {
    if (performance.now() >= nextLookAt && !(await wakeNextPage(database))) nextLookAt = performance.now() + fanOutEveryMs;
    if (running < atOnce) return await claim(database, atOnce - running, leaseMs);
    return running < atOnce + urgentSlots ? await claim(database, atOnce + urgentSlots - running, leaseMs, { lanes: ['urgent'] }) : [];
  };
}

/** Published on the diagnostics channel of the same name when an attempt has ended. */
export interface AttemptEnded {
  /** What it did; `start` when it was over with its start: parked, asked for a restart, or superseded; `failed` with a code. */
  readonly act: Decision['act'] | 'start' | 'failed';
  /** Of its failure. */
  readonly code: Code | null;
  readonly ms: number;
}

export const attemptChannel = channel('waybill:attempt');

/** One claim to its end, its lease renewed for as long as that takes. Rejects only for a fault of ours. */
export async function deliver(deps: DeliveryDeps, claimed: Claim, leaseMs: number, log: Logger): Promise<void> {
  const startedAt = performance.now();
  const about = { workspace: claimed.workspaceId, attempt: claimed.attempt };
  const renewal = setInterval(() => { void renewQuietly(deps, claimed, leaseMs, log); }, leaseMs / 3);
  try {
    const plan = await runAttempt(deps, claimed);
    const ended: AttemptEnded = { act: plan?.decision.act ?? 'start', code: null, ms: performance.now() - startedAt };
    attemptChannel.publish(ended);
    log.debug({ ...about, act: ended.act, ms: Math.round(ended.ms) }, 'attempt ended');
  } catch (error) {
    const failure = asFailure(error);
    attemptChannel.publish({ act: 'failed', code: failure.code, ms: performance.now() - startedAt } satisfies AttemptEnded);
    log.info({ ...about, code: failure.code, cure: failure.cure }, `attempt failed: ${failure.message}`);
    await settleFailed(deps, claimed, failure);
    if (failure.kind === 'fault') throw error;
  } finally {
    clearInterval(renewal);
  }
}

/** A renewal that fails is tried again with the next tick; at worst the lease runs out, and the successor fences (I24). */
async function renewQuietly(deps: DeliveryDeps, claimed: Claim, leaseMs: number, log: Logger): Promise<void> {
  try {
    await renewClaim(deps.database, claimed, leaseMs);
  } catch (error) {
    log.debug({ workspace: claimed.workspaceId, attempt: claimed.attempt, error: asFailure(error).message }, 'the lease was not renewed');
  }
}

/** What a lasting refusal has to say, and the row due again later. With PostgreSQL away the lease brings it back. */
async function settleFailed(deps: DeliveryDeps, claimed: Claim, failure: Failure): Promise<void> {
  try {
    await reject(deps.database, claimed, failure, deps.options);
    await tenantTx(deps.database, claimed.orgId, async (trx) => {
      await deferClaim(trx, claimed, retryDelayMs(claimed.tries + 1, Math.random()), true);
    });
  } catch (error) {
    if (asFailure(error).kind !== 'dependency') throw error;
  }
}
