import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, inject, onTestFinished, test } from 'vitest';
import { connectionsAsEnvironment, connectionsFromEnvironment } from '../../stack/connections.ts';
import { readStackSettings } from '../../stack/environment.ts';
import { processesOfStack } from '../../stack/processes.ts';
import { inspectTools, nativeFaults } from '../../stack/provider.ts';
import { findRunningStack } from '../../stack/state-file.ts';
import { fill, read } from '../support/stack-contents.ts';
import { runStack } from '../support/stack-program.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** Docker-only machines cannot run these; the rest of the suite runs there. */
const hasNative = nativeFaults(await inspectTools(readStackSettings({ ...process.env, WAYBILL_STACK: 'native' }))).length === 0;
const native = { WAYBILL_STACK: 'native' };
const ready = 'the stack is ready';

test.runIf(hasNative)('a stack whose parent was killed with kill -9 starts again on its data, ids and ports, and SIGTERM leaves no process', { timeout: 180_000 }, async () => {
  const stateDir = temporaryFolder();
  const first = runStack(stateDir, native);
  await first.says(ready);
  const stack = findRunningStack(stateDir);
  if (stack === undefined) throw new Error('The running stack is not found.');
  expect(connectionsAsEnvironment(stack)).toEqual(first.variables());
  for (const name of ['stack.json', 'settings.json']) expect(statSync(join(stateDir, name)).mode & 0o777).toBe(0o600);
  const contents = await fill(stack);

  // One stack a state folder.
  const second = runStack(stateDir, native);
  expect(await second.ended).toBe(1);
  expect(second.said()).toContain('STACK_LOCKED');
  expect(second.said()).toContain(String(first.pid));

  first.kill('SIGKILL');
  expect(await first.ended).toBe('SIGKILL');
  expect(findRunningStack(stateDir)).toBeUndefined();
  // Three JVMs and PostgreSQL live on; the KMS lets go by itself.
  const orphans = processesOfStack(stateDir).map(({ pid }) => pid);
  expect(orphans.length).toBeGreaterThanOrEqual(4);

  const third = runStack(stateDir, native);
  await third.says(ready);
  const now = processesOfStack(stateDir).map(({ pid }) => pid);
  expect(now.filter((pid) => orphans.includes(pid))).toEqual([]);
  expect(third.variables()).toEqual(first.variables());
  expect(await read(stack, contents.blob)).toEqual(contents);

  third.kill('SIGTERM');
  expect(await third.ended).toBe(0);
  expect(processesOfStack(stateDir)).toEqual([]);
  expect(findRunningStack(stateDir)).toBeUndefined();
});

test.runIf(hasNative)('a start that fails names the log with its last lines and leaves no process', { timeout: 120_000 }, async () => {
  const stateDir = temporaryFolder();
  mkdirSync(join(stateDir, 'kafka', 'data'), { recursive: true });
  writeFileSync(join(stateDir, 'kafka', 'data', 'meta.properties'), 'version=1\ncluster.id=of-somebody-else\nnode.id=99\n');
  const program = runStack(stateDir, native);
  expect(await program.ended).toBe(1);
  expect(program.said()).toContain('SERVICE_FAILED: kafka did not start: exit code 1');
  expect(program.said()).toContain(`${stateDir}/logs/kafka.log`);
  expect(program.said()).toMatch(/\n {2}\| .*Stored node id 99/);
  expect(processesOfStack(stateDir)).toEqual([]);
});

test.runIf(hasNative)('SIGTERM during the start leaves no process', { timeout: 60_000 }, async () => {
  const stateDir = temporaryFolder();
  const program = runStack(stateDir, native);
  await program.says('postgres is ready');
  program.kill('SIGTERM');
  expect(await program.ended).toBe(130);
  expect(processesOfStack(stateDir)).toEqual([]);
});

test.runIf(hasNative)('a port that was asked for and is taken is named before anything starts', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => {
    taken.close();
  });
  const { promise, resolve } = Promise.withResolvers<number>();
  taken.once('listening', () => {
    const address = taken.address();
    resolve(typeof address === 'object' && address !== null ? address.port : 0);
  });
  const port = String(await promise);
  const program = runStack(temporaryFolder(), { ...native, WAYBILL_DATABASE_PORT: port });
  expect(await program.ended).toBe(1);
  expect(program.said()).toContain(`PORT_TAKEN: In use on 127.0.0.1: WAYBILL_DATABASE_PORT=${port}`);
  expect(program.said()).not.toContain('is ready');
});

test('without Java, Maven and Docker it says what is missing and how to get it', async () => {
  const program = runStack(temporaryFolder(), { PATH: '', JAVA_HOME: '', WAYBILL_CACHE: join(temporaryFolder(), 'empty') });
  expect(await program.ended).toBe(1);
  expect(program.said()).toMatch(/^JAVA_MISSING: /);
  for (const text of ['no java in JAVA_HOME or on the PATH', 'no mvn on the PATH', 'no docker on the PATH', 'apt-get install', 'brew install']) expect(program.said()).toContain(text);
});

test('a half-configured environment is refused, with every variable that is missing or wrong', async () => {
  const program = runStack(temporaryFolder(), { WAYBILL_KAFKA_BROKERS: '127.0.0.1:1', WAYBILL_DATABASE_URL: 'postgres://127.0.0.1/x', WAYBILL_KMS_PORT: '70000' });
  expect(await program.ended).toBe(1);
  expect(program.said()).toMatch(/^CONFIG_INVALID: /);
  expect(program.said()).toContain('WAYBILL_KMS_PORT is "70000"');
  expect(program.said()).toContain('Missing: WAYBILL_REGISTRY_URL, WAYBILL_S3_ENDPOINT, WAYBILL_S3_ACCESS_KEY_ID, WAYBILL_S3_SECRET_ACCESS_KEY, WAYBILL_KMS_ENDPOINT');
});

test('services that the environment names are used and not started, and one that does not answer is named', async () => {
  const named = connectionsAsEnvironment(inject('stack'));
  expect(connectionsFromEnvironment(named)).toEqual(inject('stack'));
  const stateDir = temporaryFolder();
  const good = runStack(stateDir, named);
  expect(await good.ended).toBe(0);
  expect(good.variables()).toEqual(named);
  expect(processesOfStack(stateDir)).toEqual([]);

  const bad = runStack(stateDir, { ...named, WAYBILL_REGISTRY_URL: 'http://127.0.0.1:1/apis/ccompat/v7' });
  expect(await bad.ended).toBe(1);
  expect(bad.said()).toContain('UNAVAILABLE');
  expect(bad.said()).toContain('WAYBILL_REGISTRY_URL: 127.0.0.1:1 (ECONNREFUSED)');
});
