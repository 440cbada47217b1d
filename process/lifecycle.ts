import { setTimeout as delay } from 'node:timers/promises';

import { asFailure, Failure } from './failure.ts';
import type { Logger } from './log.ts';

/** Something that runs until the signal aborts, then ends what it has begun and returns. Rejects only when it cannot go on. */
export interface Runnable {
  readonly name: string;
  run(signal: AbortSignal): Promise<void>;
}

export interface RunOptions {
  readonly log: Logger;
  /** How long the others may take to end, in milliseconds, once one has to stop (I22). Default 10 s. */
  readonly graceMs?: number;
}

/** Time to drain, in milliseconds: within what supervisors wait before they kill (I22). */
export const defaultGraceMs = 10_000;

/**
 * Runs all until `signal` aborts or one rejects; then asks all to stop and waits for them, at most the grace period.
 * Resolves when all have ended in time after the signal. Rejects with the first failure, or with a fault that names what
 * did not end in time: the caller exits non-zero, and a supervisor starts it anew.
 */
export async function runTogether(runnables: readonly Runnable[], signal: AbortSignal, { log, graceMs = defaultGraceMs }: RunOptions): Promise<void> {
  if (signal.aborted) return;
  const stop = new AbortController();
  const running = new Set<string>();
  let failed: Failure | undefined;

  const ends = runnables.map(async (runnable) => {
    const { name } = runnable;
    running.add(name);
    try {
      await runnable.run(stop.signal);
      if (!stop.signal.aborted) throw new Failure('fault', 'FAULT', `${name} ended although nobody asked it to`);
    } catch (error) {
      const failure = asFailure(error);
      if (failed === undefined) failed = failure;
      log.error({ role: name, code: failure.code, cure: failure.cure, err: failure.cause ?? failure }, `${name} cannot go on: ${failure.message}`);
    } finally {
      running.delete(name);
      if (failed !== undefined) stop.abort();
    }
  });

  const onAbort = (): void => { stop.abort(); };
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = new AbortController();
  try {
    const all = Promise.all(ends);
    await Promise.race([all, onceAborted(stop.signal)]);
    const isLate = await Promise.race([all.then(() => false), delay(graceMs, true, { signal: timer.signal })]);
    if (isLate) throw new Failure('fault', 'FAULT', `${[...running].join(', ')} did not end within ${graceMs} ms`);
    if (failed !== undefined) throw failed;
  } finally {
    timer.abort();
    signal.removeEventListener('abort', onAbort);
  }
}

async function onceAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  signal.addEventListener('abort', () => { resolve(undefined); }, { once: true });
  await promise;
}

/** What of `process` the watch needs; an own one in tests. */
export interface SignalSource {
  on(event: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
  off(event: 'SIGINT' | 'SIGTERM', listener: () => void): unknown;
  exit(code: number): void;
}

export interface Termination {
  /** Aborts with the first SIGINT or SIGTERM; its reason is an AbortError that names it. */
  readonly signal: AbortSignal;
  /** Listens no longer. */
  dispose(): void;
}

/** Exit code of a process that was interrupted and can be started again. */
const interrupted = 130;

/** The first SIGINT or SIGTERM asks to stop; the second ends the process at once, for a person who will not wait. */
export function watchTermination(source: SignalSource = process): Termination {
  const controller = new AbortController();
  const listener = (name: string) => (): void => {
    if (controller.signal.aborted) source.exit(interrupted);
    else controller.abort(new DOMException(`stopped by ${name}`, 'AbortError'));
  };
  const onInterrupt = listener('SIGINT');
  const onTerminate = listener('SIGTERM');
  source.on('SIGINT', onInterrupt);
  source.on('SIGTERM', onTerminate);
  return {
    signal: controller.signal,
    dispose() {
      source.off('SIGINT', onInterrupt);
      source.off('SIGTERM', onTerminate);
    },
  };
}
