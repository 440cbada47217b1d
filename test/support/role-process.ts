import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inject } from 'vitest';

import { connectionsAsEnvironment } from '../../stack/connections.ts';
import type { DeliveryWorld } from './delivery-world.ts';
import type { StepFault, StepSettings } from './step-signal.ts';

/** `waybill run` with a role, or some, in a process of its own, on the services of a DeliveryWorld. */
export interface RoleProcess {
  readonly pid: number;
  /** The signal that ended it, or its exit code. */
  readonly ended: Promise<NodeJS.Signals | number>;
  /** Undefined while it lives. */
  end(): NodeJS.Signals | number | undefined;
  /** Its log so far. */
  said(): string;
  /** The steps that it has reached. */
  trace(): string[];
  /** Resolves once the kernel says that it is stopped; rejects when it ends before or within ten seconds does not stop. */
  stopped(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  kill(): Promise<void>;
}

export interface RoleOptions {
  readonly fault?: StepFault | undefined;
  /** The checkout to run; a copy that was broken on purpose in negative controls. */
  readonly root?: string | undefined;
  readonly variables?: Readonly<Record<string, string>> | undefined;
  /** Default: deliveries. */
  readonly roles?: readonly string[] | undefined;
}

const checkout = resolve(import.meta.dirname, '../..');
/** Every process of this file that may still live: ended with the test run whatever happens. */
const living = new Set<number>();
process.once('exit', () => {
  for (const pid of living) process.kill(pid, 'SIGKILL');
});
let serial = 0;

export function startRole(world: DeliveryWorld, { fault, root = checkout, variables = {}, roles = ['deliveries'] }: RoleOptions = {}): RoleProcess {
  serial += 1;
  const trace = join(world.folder, `trace-${serial}`);
  const stack = inject('stack');
  const steps: StepSettings = { trace, fault: fault ?? null };
  const child = spawn(
    process.execPath,
    ['--disable-warning=TimeoutNegativeWarning', '--import', join(checkout, 'test/support/step-signal.ts'), join(root, 'cli/main.ts'), 'run', ...roles.flatMap((role) => ['--role', role])],
    {
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        ...connectionsAsEnvironment(stack),
        WAYBILL_DATABASE_URL: world.isolated.databaseUrl,
        WAYBILL_S3_BUCKET: world.isolated.bucket,
        WAYBILL_FETCH_HOSTS: new URL(stack.s3.endpoint).host,
        WAYBILL_VOLUMES: join(world.folder, 'volumes'),
        WAYBILL_SETTLE_WINDOW_MS: '0',
        WAYBILL_DELIVERIES_AT_ONCE: '1',
        WAYBILL_LEASE_MS: '3600000',
        WAYBILL_LOG_LEVEL: 'debug',
        WAYBILL_TEST_STEPS: JSON.stringify(steps),
        ...variables,
      },
    },
  );
  const pid = child.pid ?? 0;
  living.add(pid);
  let said = '';
  let end: NodeJS.Signals | number | undefined;
  child.stderr.setEncoding('utf8').on('data', (text: string) => { said += text; });
  const { promise: ended, resolve: setEnded } = Promise.withResolvers<NodeJS.Signals | number>();
  child.once('exit', (code, signal) => {
    living.delete(pid);
    end = signal ?? code ?? 1;
    setEnded(end);
  });
  return {
    pid,
    ended,
    end: () => end,
    said: () => said,
    trace: () => (existsSync(trace) ? readFileSync(trace, 'utf8').split('\n').filter((line) => line !== '') : []),
    async stopped() {
      const deadline = Date.now() + 20_000;
      for (;;) {
        if (end !== undefined) throw new Error(`the role ended (${end}) instead of stopping:\n${said.slice(-2_000)}`);
        if (/\) T /u.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) return;
        if (Date.now() > deadline) throw new Error(`the role did not stop at ${fault?.step ?? 'any step'}:\n${said.slice(-2_000)}`);
        await delay(5);
      }
    },
    signal(signal) {
      child.kill(signal);
    },
    async kill() {
      if (end === undefined) child.kill('SIGKILL');
      await ended;
    },
  };
}
