import { asFailure, Failure } from '../process/failure.ts';
import type { Logger } from '../process/log.ts';
import { pause } from '../process/pause.ts';
import type { WorkspaceId } from '../schemas/ids.ts';
import type { AgentClock } from './agent-clock.ts';
import type { Wanted } from './broker-answers.ts';
import { retryPauseMs, type Broker, type WantedAnswer } from './broker.ts';
import { runBoxAttempt, type AttemptEnd, type BoxDeps } from './box-attempt.ts';
import { readHeld, writeHeld } from './held.ts';
import { hasRunOut, newerLease, verifyLease, type Lease } from './lease.ts';
import { takeOutSold } from './take-out.ts';
import type { KeyTrust } from './key-trust.ts';

export interface AgentDeps extends BoxDeps {
  readonly broker: Broker;
  readonly trust: KeyTrust;
  readonly clock: AgentClock;
  readonly workspaceId: WorkspaceId;
  readonly log: Logger;
}

/** Pause in milliseconds after an answer that another question right away would not change. */
const refusedPauseMs = 60_000;
/** Least pause between two rounds that failed, in milliseconds. */
const failedPauseMs = 250;

/**
 * Delivers to one workspace from within it, until the signal aborts (delivery mode `box`): asks the broker what is wanted, does
 * it, reports, and waits for the next change. Keeps nothing in memory that a kill would lose. While the broker cannot be asked
 * it keeps what it holds until its lease runs out, then takes out what was sold.
 */
export async function runAgent(deps: AgentDeps, signal: AbortSignal): Promise<void> {
  const agent = new Agent(deps, signal);
  let failures = 0;
  while (!signal.aborted) {
    try {
      await agent.round(() => { failures = 0; });
    } catch (error) {
      if (signal.aborted) return;
      const failure = asFailure(error);
      if (failure.kind === 'fault') throw error;
      // Said once for a row of them: what comes after is the same until it is over.
      if (failures === 0) deps.log.warn({ code: failure.code, cure: failure.cure }, `the agent waits: ${failure.message}`);
      await agent.whileAway();
      const pauseMs = failure.kind === 'dependency' ? failedPauseMs + retryPauseMs(failures, Math.random()) : refusedPauseMs;
      failures += 1;
      await pause(pauseMs, signal);
    }
  }
}

class Agent {
  readonly #deps: AgentDeps;
  readonly #signal: AbortSignal;

  constructor(deps: AgentDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
  }

  /**
   * From a fresh look at the volume, through as many attempts as there are, until something fails or asks for another look.
   * `answered` is called whenever the broker answers.
   */
  async round(answered: () => void): Promise<void> {
    const { broker, files, trust, volumes, volume } = this.#deps;
    const inspection = await volumes.inspect({ volume });
    if (inspection.isGone) throw new Failure('subject', 'VOLUME_UNWRITABLE', `the volume ${volume} is not there: mount it`);
    await trust.refresh(this.#signal);
    let folders = inspection.attempts;
    const { takenOut } = readHeld(files);
    let answer = await broker.wanted({ folders, takenOut }, this.#signal);
    if (takenOut) writeHeld(files, { ...readHeld(files), takenOut: false });
    while (answer !== undefined) {
      answered();
      await this.#keepLease(answer.wanted);
      const { attempt } = answer.wanted;
      if (attempt === null) {
        answer = await this.#change({ folders, etag: answer.etag }, this.#signal);
        continue;
      }
      folders = [...new Set([...folders, attempt])];
      const { end, next } = await this.#attempt({ ...answer.wanted, attempt }, { folders, etag: answer.etag });
      if (next !== undefined) answer = next;
      // Nothing was recorded: only a fresh look tells what is wanted now.
      else if (end === undefined || end.result === 'replan' || end.result === 'superseded') return;
      else answer = await broker.wanted({ folders: end.settled ? [] : folders, settled: end.settled ? attempt : undefined, etag: answer.etag }, this.#signal)
        ?? await this.#change({ folders, etag: answer.etag }, this.#signal);
    }
  }

  /** The broker cannot be asked: what was sold goes when the lease is over. */
  async whileAway(): Promise<void> {
    const { clock, log } = this.#deps;
    try {
      if (!hasRunOut(await this.#keptLease(), clock.latestMs())) return;
      const gone = await takeOutSold(this.#deps);
      if (gone.length > 0) log.warn({ files: gone.length }, 'the lease has run out and the broker cannot be asked: what was sold was taken out');
    } catch (error) {
      const failure = asFailure(error);
      if (failure.kind === 'fault') throw error;
      log.warn({ code: failure.code, cure: failure.cure }, `what was sold could not be taken out: ${failure.message}`);
    }
  }

  /** The next answer that differs; asks again for as long as nothing changes. undefined once the signal aborts. */
  async #change(query: { folders: readonly number[]; etag: string }, signal: AbortSignal): Promise<WantedAnswer | undefined> {
    while (!signal.aborted) {
      const answer = await this.#deps.broker.wanted(query, signal);
      if (answer !== undefined) return answer;
    }
    return undefined;
  }

  /** One attempt, while a second question waits: when it is answered, something else is wanted, and the attempt is dropped. */
  async #attempt(wanted: Wanted & { attempt: number }, query: { folders: readonly number[]; etag: string }): Promise<{ end?: AttemptEnd; next?: WantedAnswer }> {
    const { log } = this.#deps;
    const ended = new AbortController();
    const changed = new AbortController();
    const about = { attempt: wanted.attempt, act: wanted.act };
    let next: WantedAnswer | undefined;
    const watching = this.#change(query, AbortSignal.any([this.#signal, ended.signal])).then((answer) => {
      next = answer;
      if (answer !== undefined) changed.abort(new DOMException('something else is wanted', 'AbortError'));
    }, () => undefined); // the attempt's own questions fail likewise, and tell why
    try {
      const end = await runBoxAttempt(this.#deps, wanted, this.#deps.trust.keys(), AbortSignal.any([this.#signal, changed.signal]));
      log.info({ ...about, result: end.result }, 'attempt ended');
      return { end };
    } catch (error) {
      if (!changed.signal.aborted || this.#signal.aborted) throw error;
      log.info(about, 'attempt dropped: something else is wanted');
      return next === undefined ? {} : { next };
    } finally {
      ended.abort();
      await watching;
    }
  }

  async #keepLease({ lease }: Wanted): Promise<void> {
    if (lease === null) return;
    const { files, trust, workspaceId } = this.#deps;
    const given = await verifyLease(lease, workspaceId, trust.keys().leaseKeys);
    if (newerLease(await this.#keptLease(), given)) files.write('lease.txt', lease);
  }

  /** One that cannot be verified is none: the agent then holds what it holds without a lease. */
  async #keptLease(): Promise<Lease | undefined> {
    const { files, trust, workspaceId } = this.#deps;
    const text = files.read('lease.txt');
    if (text === undefined) return undefined;
    try {
      return await verifyLease(text, workspaceId, trust.keys().leaseKeys);
    } catch (error) {
      if (error instanceof Failure && error.code === 'INTEGRITY_FAILED') return undefined;
      throw error;
    }
  }
}
