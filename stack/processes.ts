import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** What tells a process from another one that got the same pid later. */
export interface ProcessIdentity {
  pid: number;
  /** Opaque; equal only for the same process. */
  startedAt: string;
  /** The command line, one entry an argument (on systems without /proc split at blanks). */
  command: string[];
}

const hasProc = existsSync('/proc/self/stat');

/** In: a pid. Out: who that is now; undefined when it is gone or a zombie (which holds nothing but its number). */
export function identify(pid: number): ProcessIdentity | undefined {
  return hasProc ? identifyByProc(pid) : identifyByPs(pid);
}

/**
 * Every live process that has an argument `waybill.stack=<stateDir>` (bare, or behind -D or --): what a stack of this
 * state folder started. The mark travels with the process, so nothing has to be written down in time for a `kill -9`.
 */
export function processesOfStack(stateDir: string): ProcessIdentity[] {
  const mark = stackMark(stateDir);
  const marked = ({ pid, command }: ProcessIdentity): boolean =>
    pid !== process.pid && command.some((argument) => argument === mark || argument === `-D${mark}` || argument === `--${mark}`);
  const pids = hasProc ? readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number) : listByPs();
  return pids.flatMap((pid) => identify(pid) ?? []).filter(marked);
}

export const stackMark = (stateDir: string): string => `waybill.stack=${stateDir}`;

/**
 * Signals a process and waits until it is gone; after `graceMs` it gets SIGKILL.
 * Only that very process: a pid that was given to another one meanwhile is left alone.
 */
export async function endProcess(target: ProcessIdentity, signal: NodeJS.Signals, graceMs: number): Promise<void> {
  const lives = (): boolean => identify(target.pid)?.startedAt === target.startedAt;
  const send = (name: NodeJS.Signals): void => {
    if (lives()) signalQuietly(target.pid, name);
  };
  send(signal);
  const deadline = Date.now() + graceMs;
  while (lives() && Date.now() < deadline) await delay(50);
  send('SIGKILL');
  while (lives() && Date.now() < deadline + 5_000) await delay(50);
}

const endings = new Set<() => void>();
process.on('exit', () => {
  for (const end of endings) end();
});

/**
 * A process that ends without having stopped its children (an uncaught error, process.exit) still asks them to end.
 * In: what sends the signal; synchronous. Out: call it once the child is gone.
 */
export function atExit(end: () => void): () => void {
  endings.add(end);
  return () => {
    endings.delete(end);
  };
}

/** Sends a signal; a process that is gone already is what we wanted. A negative pid means its process group. */
export function signalQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function identifyByProc(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    // The second field is the name in parentheses and may hold blanks; state is the third field, start time the 22nd.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const command = readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8').split('\0').filter((part) => part !== '');
    return { pid, startedAt: fields[19] ?? '', command };
  } catch {
    return undefined;
  }
}

function identifyByPs(pid: number): ProcessIdentity | undefined {
  try {
    const line = execFileSync('ps', ['-ww', '-o', 'stat=', '-o', 'lstart=', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    // stat, then "Thu Jan  1 00:00:00 1970", then the command.
    const found = /^(\S+)\s+(\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s+(.*)$/.exec(line);
    if (found === null || found[1]?.startsWith('Z') === true) return undefined;
    return { pid, startedAt: found[2] ?? '', command: (found[3] ?? '').split(' ') };
  } catch {
    return undefined;
  }
}

function listByPs(): number[] {
  return execFileSync('ps', ['-axo', 'pid='], { encoding: 'utf8' }).split('\n').map((line) => Number(line.trim())).filter((pid) => pid > 0);
}
