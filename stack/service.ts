import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, renameSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Failure } from '../process/failure.ts';
import { atExit, signalQuietly } from './processes.ts';

export interface ServiceSpec {
  name: string;
  command: string;
  args: string[];
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** Run as this user instead (PostgreSQL refuses to be root). */
  user?: { uid: number; gid: number } | undefined;
  /** Output goes straight into this file, so that it does not end with its parent; the last run's is kept as `.1`. */
  logFile: string;
  stopSignal: NodeJS.Signals;
  /** Asks the service itself; true once it answers. Anything thrown means not yet, but for a Failure, which ends the start. */
  isReady: () => Promise<boolean>;
  /** Milliseconds until it must be ready. */
  deadlineMs: number;
  /** Milliseconds that a stop may take before SIGKILL. */
  graceMs: number;
  /** Give the child an open standard input that ends with us: it watches it and ends too. */
  lifeline?: boolean;
}

export interface RunningService {
  readonly name: string;
  readonly pid: number;
  /** Settles when the process ends, whoever ended it, with words about how. */
  readonly ended: Promise<string>;
  /** Stops it and waits until it is gone. Idempotent. */
  stop(): Promise<void>;
}

const pollMs = 50;
const tailLines = 15;
/** What never was ready has nothing to save. */
const failedGraceMs = 5_000;

/**
 * Starts a child in a process group of its own (Ctrl-C reaches us alone, and we stop it in order) and resolves when it
 * is ready. On failure, deadline or abort the child is gone before this rejects.
 * Throws SERVICE_FAILED with the log file and its last lines; the reason of `signal` when aborted.
 */
export async function startService(spec: ServiceSpec, signal: AbortSignal): Promise<RunningService> {
  signal.throwIfAborted();
  if (existsSync(spec.logFile)) renameSync(spec.logFile, `${spec.logFile}.1`);
  const log = openSync(spec.logFile, 'a', 0o600);
  const child = spawn(spec.command, spec.args, {
    detached: true,
    stdio: [spec.lifeline === true ? 'pipe' : 'ignore', log, log],
    ...(spec.env === undefined ? {} : { env: spec.env }),
    ...(spec.cwd === undefined ? {} : { cwd: spec.cwd }),
    ...spec.user,
  });
  closeSync(log);
  const { promise: ended, resolve: end } = Promise.withResolvers<string>();
  const isOver = (): boolean => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  const finish = (how: string): void => {
    forget();
    end(how);
  };
  const forget = atExit(() => {
    if (child.pid !== undefined) signalQuietly(child.pid, spec.stopSignal);
  });
  child.once('error', (error) => {
    finish(`could not be run: ${error.message}`);
  });
  child.once('exit', (code, killedBy) => {
    finish(killedBy === null ? `exit code ${String(code)}` : `signal ${killedBy}`);
  });

  const endChild = async (graceMs: number): Promise<void> => {
    const { pid } = child;
    if (pid === undefined || isOver()) return;
    signalQuietly(pid, spec.stopSignal);
    if (!(await settlesWithin(ended, graceMs))) {
      signalQuietly(-pid, 'SIGKILL');
      await ended;
    }
  };

  try {
    const deadline = Date.now() + spec.deadlineMs;
    for (;;) {
      const isReady = await spec.isReady().catch(notYet);
      signal.throwIfAborted();
      // Judged before the answer: it may be another program's, on a port that ours did not get.
      if (isOver()) throw failed(spec, await ended);
      if (isReady) break;
      if (Date.now() > deadline) throw failed(spec, `not ready after ${String(spec.deadlineMs / 1000)} s`);
      await delay(pollMs);
    }
  } catch (error) {
    await endChild(Math.min(spec.graceMs, failedGraceMs));
    throw error;
  }
  return { name: spec.name, pid: child.pid ?? 0, ended, stop: async () => await endChild(spec.graceMs) };
}

function notYet(error: unknown): false {
  if (error instanceof Failure) throw error;
  return false;
}

async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const clock = new AbortController();
  const late = delay(ms, false, { signal: clock.signal }).catch(() => false);
  const inTime = await Promise.race([promise.then(() => true), late]);
  clock.abort();
  return inTime;
}

function failed(spec: ServiceSpec, how: string): Failure {
  return new Failure('dependency', 'SERVICE_FAILED', `${spec.name} did not start: ${how}. Its log: ${spec.logFile}\n${lastLines(spec.logFile)}`);
}

/** The last lines of a log, indented, for a message. */
export function lastLines(path: string): string {
  const text = existsSync(path) ? readFileSync(path, 'utf8').trimEnd() : '';
  return text === '' ? '  (the log is empty)' : text.split('\n').slice(-tailLines).map((line) => `  | ${line}`).join('\n');
}
