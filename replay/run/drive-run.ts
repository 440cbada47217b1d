import { tx, type Database, type Transaction } from '../../process/database.ts';
import { asFailure, type Failure } from '../../process/failure.ts';
import { pause } from '../../process/pause.ts';
import { passStep } from '../../process/steps.ts';
import { acquireLease, leaseMs, releaseLease, renewLease, requireFence, type EndState, type Lease } from './lease.ts';
import { measure, type Measuring } from './measure.ts';
import { etaMs, type Progress } from './progress.ts';
import { loadRun, type Run } from './runs.ts';
import { decideThrottle, paceMs, type Controls, type Measured } from './throttle.ts';

export interface DriveOptions {
  readonly measuring: Measuring;
  /** Who this is, for people who find the run held: host and process id. */
  readonly holder: string;
  /** Aborted: the piece in hand is finished, the run is paused. */
  readonly signal: AbortSignal;
  /** Called about once a second. */
  readonly report?: (progress: Progress) => void;
}

/** How a run ended here. `paused` and `failed` can be resumed by any process. */
export interface Driven {
  readonly state: EndState;
  readonly run: Run;
  /** What stopped it, when it was not a person. */
  readonly failure?: Failure;
}

/** What came of one piece of work, added to the counts of the run. */
export interface Piece {
  readonly ok?: number;
  readonly failed?: number;
  readonly skipped?: number;
}

/** Longest between two looks at live traffic, wishes and the lease. */
const lookEveryMs = 500;
const reportEveryMs = 1_000;

/** A person asked it to stop; not an error. */
class Stopped extends Error {
  readonly state: 'paused' | 'aborted';
  constructor(state: 'paused' | 'aborted') {
    super(state);
    this.state = state;
  }
}

/**
 * Holds a run for as long as `work` takes, under a lease that no two processes have (D7). Every kind of run goes through
 * here: throttle, pause, abort, progress and the end are the same for all. `work` returns when nothing is left,
 * or 'paused' where it has done the part that was asked for.
 * @throws Failure input NOT_FOUND, RUN_LEASED, STALE_VERSION; everything else ends the run as `failed` and is in the result
 */
export async function driveRun(database: Database, runId: string, options: DriveOptions, work: (control: RunControl) => Promise<void | 'paused'>): Promise<Driven> {
  const lease = await acquireLease(database, runId, options.holder);
  passStep('run:leased', runId);
  const control = new RunControl(database, lease, await loadRun(database, runId), options);
  // A piece may take longer than the lease.
  const renewal = setInterval(() => { void control.renewQuietly(); }, leaseMs / 3);
  let state: EndState = 'done';
  let failure: Failure | undefined;
  try {
    state = await work(control) ?? 'done';
  } catch (error) {
    if (error instanceof Stopped) state = error.state;
    else {
      failure = asFailure(error);
      if (failure.code === 'RUN_LEASED') throw failure;
      // Whatever can be mended leaves it resumable.
      state = failure.kind === 'fault' ? 'failed' : 'paused';
    }
  } finally {
    clearInterval(renewal);
  }
  control.report();
  await releaseLease(database, lease, state, failure === undefined ? null : `${failure.code}: ${failure.message}`);
  return { state, run: await loadRun(database, runId), ...(failure !== undefined && { failure }) };
}

/** What the work of a run asks before each piece, and writes with it. */
export class RunControl {
  readonly lease: Lease;
  readonly run: Run;
  readonly #database: Database;
  readonly #options: DriveOptions;
  readonly #counts: Record<keyof Piece, number>;
  #controls: Controls;
  #measured: Measured = { lagMs: 0, databaseMs: 0, restarts: 0 };
  /** Restarts caused since they were counted last: the cap holds between two looks, too. */
  #restartsSince = 0;
  #throttled: string | null = null;
  #lookedAt = -Infinity;
  #reportedAt = 0;
  readonly #startedAt = performance.now();
  #doneHere = 0;
  /** The pace counts from the last change of the rate, or the last wait. */
  #pace = { startedAt: performance.now(), done: 0 };

  constructor(database: Database, lease: Lease, run: Run, options: DriveOptions) {
    this.#database = database;
    this.lease = lease;
    this.run = run;
    this.#options = options;
    this.#controls = run.controls;
    this.#counts = { ok: run.ok, failed: run.failed, skipped: run.skipped };
  }

  get signal(): AbortSignal {
    return this.#options.signal;
  }

  /** Waits until the next `pieces` may begin. Throws what ends the run here: a wish, Ctrl-C, or a lease that is lost. */
  async gate(pieces = 1): Promise<void> {
    for (;;) {
      this.#stopIfAsked();
      const isAtCap = this.#measured.restarts + this.#restartsSince >= this.#controls.restartsPerHour;
      if (performance.now() - this.#lookedAt >= lookEveryMs || this.#throttled !== null || isAtCap) await this.#look();
      this.report(reportEveryMs);
      if (this.#throttled === null) {
        const waitMs = paceMs({ ...this.#pace, now: performance.now() }, this.#controls.rate);
        if (waitMs < 1) {
          this.#pace.done += pieces;
          return;
        }
        await this.#wait(Math.min(waitMs, lookEveryMs));
      } else {
        await this.#wait(lookEveryMs);
        this.#pace = { startedAt: performance.now(), done: 0 };
      }
    }
  }

  /**
   * One transaction in the pipeline's database that belongs to the run: refused to a process that lost it. `work` returns
   * what the piece came to, which is added to the counts with it; `checkpoint` is merged into the stored one.
   */
  async commit(work: (trx: Transaction) => Promise<Piece & { readonly checkpoint?: Readonly<Record<string, unknown>> }>): Promise<void> {
    const piece = await tx(this.#database, async (trx) => {
      await requireFence(trx, this.lease);
      const done = await work(trx);
      await trx.raw(
        'update runs set ok = ok + ?, failed = failed + ?, skipped = skipped + ?, checkpoint = checkpoint || ?::jsonb where run_id = ?',
        [done.ok ?? 0, done.failed ?? 0, done.skipped ?? 0, JSON.stringify(done.checkpoint ?? {}), this.lease.runId],
      );
      passStep('run:piece:commit', this.lease.runId);
      return done;
    });
    passStep('run:piece:committed', this.lease.runId);
    const { ok = 0, failed = 0, skipped = 0 } = piece;
    this.#counts.ok += ok;
    this.#counts.failed += failed;
    this.#counts.skipped += skipped;
    this.#doneHere += ok + failed + skipped;
  }

  /** A workspace was changed whose agent runs: it will be asked to restart. */
  noteRestart(): void {
    this.#restartsSince += 1;
  }

  async renewQuietly(): Promise<void> {
    try {
      await renewLease(this.#database, this.lease, this.#throttled);
    } catch {
      // The next look, or the next write, tells.
    }
  }

  /** Hands progress to whoever watches, unless that was done within `everyMs`. */
  report(everyMs = 0): void {
    if (performance.now() - this.#reportedAt < everyMs) return;
    this.#reportedAt = performance.now();
    this.#options.report?.(this.progress());
  }

  progress(): Progress {
    const { total } = this.run;
    const { ok, failed, skipped } = this.#counts;
    const perSecond = this.#doneHere / Math.max((performance.now() - this.#startedAt) / 1000, 0.001);
    const left = Math.max(0, total - ok - failed - skipped);
    return { total, ok, failed, skipped, perSecond, lagMs: this.#measured.lagMs, throttled: this.#throttled, etaMs: etaMs({ left, perSecond }) };
  }

  #stopIfAsked(): void {
    if (this.#options.signal.aborted) throw new Stopped('paused');
  }

  async #look(): Promise<void> {
    this.#measured = await measure(this.#options.measuring, this.lease.runId);
    this.#restartsSince = 0;
    this.#throttled = decideThrottle(this.#measured, this.#controls);
    const { wish, controls } = await renewLease(this.#database, this.lease, this.#throttled);
    this.#lookedAt = performance.now();
    if (wish !== null) throw new Stopped(wish === 'abort' ? 'aborted' : 'paused');
    if (controls.rate !== this.#controls.rate) this.#pace = { startedAt: performance.now(), done: 0 };
    this.#controls = controls;
    this.#throttled = decideThrottle(this.#measured, controls);
  }

  async #wait(ms: number): Promise<void> {
    await pause(ms, this.#options.signal);
  }
}
