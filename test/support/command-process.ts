import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import type { StepFault, StepSettings } from './step-signal.ts';

/** What became of a command in a process of its own. */
export interface EndedCommand {
  /** The signal that ended it, or its exit code. */
  readonly end: NodeJS.Signals | number;
  readonly out: string;
  readonly err: string;
  /** The steps that it passed. */
  readonly trace: readonly string[];
}

export interface RunningCommand {
  readonly pid: number;
  readonly ended: Promise<EndedCommand>;
  signal(signal: NodeJS.Signals): void;
  /** The steps that it has passed so far. */
  trace(): string[];
}

const checkout = resolve(import.meta.dirname, '../..');
const living = new Set<number>();
process.once('exit', () => {
  for (const pid of living) process.kill(pid, 'SIGKILL');
});

/** `waybill …` in a process of its own, which a fault kills or freezes at a step. */
export function startCommand(args: readonly string[], environment: Readonly<Record<string, string>>, fault: StepFault | null = null): RunningCommand {
  const trace = join(tmpdir(), `waybill-trace-${randomUUID()}`);
  const child = spawn(
    process.execPath,
    ['--disable-warning=TimeoutNegativeWarning', '--import', join(checkout, 'test/support/step-signal.ts'), join(checkout, 'cli/main.ts'), ...args],
    { cwd: checkout, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment, WAYBILL_TEST_STEPS: JSON.stringify({ trace, fault } satisfies StepSettings) } },
  );
  const pid = child.pid ?? 0;
  living.add(pid);
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => { out += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { err += text; });
  const read = (): string[] => (existsSync(trace) ? readFileSync(trace, 'utf8').split('\n').filter((line) => line !== '') : []);
  const { promise: ended, resolve: setEnded } = Promise.withResolvers<EndedCommand>();
  child.once('close', (code, signal) => {
    living.delete(pid);
    setEnded({ end: signal ?? code ?? 1, out, err, trace: read() });
  });
  return { pid, ended, signal: (signal) => { child.kill(signal); }, trace: read };
}
