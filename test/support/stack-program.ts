import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { endOrphans } from '../../stack/orphans.ts';
import { prepareStateDir } from '../../stack/state-file.ts';

/** `node stack/main.ts` as a person starts it. */
export interface StackProgram {
  readonly pid: number;
  /** Everything it has said on standard error so far. */
  said(): string;
  /** The variables it printed on standard output. */
  variables(): Record<string, string>;
  /** Resolves when it has said this; rejects when it ends before. */
  says(text: string): Promise<void>;
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  kill(signal: NodeJS.Signals): void;
}

/** In: state folder; variables on top of an environment that names no services. What it started ends with the test. */
export function runStack(stateDir: string, variables: Record<string, string> = {}): StackProgram {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('WAYBILL_') || name === 'WAYBILL_CACHE');
  const child = spawn(process.execPath, ['stack/main.ts', '--state-dir', stateDir], { env: { ...Object.fromEntries(inherited), ...variables }, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  const { promise: ended, resolve } = Promise.withResolvers<number | NodeJS.Signals>();
  child.once('close', (code, signal) => {
    resolve(code ?? signal ?? 'SIGKILL');
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
    await endOrphans(prepareStateDir(stateDir).stateDir, () => undefined);
  });
  const over = new AbortController();
  void ended.then(() => {
    over.abort();
  });
  return {
    pid: child.pid ?? 0,
    ended,
    said: () => said,
    variables: () => Object.fromEntries([...printed.matchAll(/^export (\w+)='(.*)'$/gm)].map(([, name = '', value = '']) => [name, value])),
    async says(text) {
      while (!said.includes(text)) {
        await once(child.stderr, 'data', { signal: over.signal }).catch(() => undefined);
        if (over.signal.aborted && !said.includes(text)) throw new Error(`It ended without saying "${text}":\n${said}`);
      }
    },
    kill(signal) {
      child.kill(signal);
    },
  };
}
