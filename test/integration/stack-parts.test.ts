import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { examine } from '../../stack/doctor.ts';
import { readStackSettings } from '../../stack/environment.ts';
import { lockStack } from '../../stack/lock.ts';
import { choosePorts } from '../../stack/ports.ts';
import { isolate } from '../support/isolated.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

async function takenPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.close();
  });
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

test('ports of the last run are used again when they are free, others are chosen, and none twice', async () => {
  const last = await choosePorts({}, {});
  expect(new Set(Object.values(last)).size).toBe(6);
  const taken = await takenPort();
  const next = await choosePorts({}, { ...last, kafka: taken, registry: last.s3 });
  expect(next).toMatchObject({ s3: expect.any(Number) as unknown, database: last.database, kms: last.kms });
  expect(next.kafka).not.toBe(taken);
  expect(new Set(Object.values(next)).size).toBe(6);
});

test('every port that was asked for and is taken, or asked for twice, is named at once', async () => {
  const [one, two] = [await takenPort(), await takenPort()];
  await expect(choosePorts({ kafka: one, s3: two }, {})).rejects.toMatchObject({ code: 'PORT_TAKEN', message: expect.stringContaining(`WAYBILL_KAFKA_PORT=${String(one)}, WAYBILL_S3_PORT=${String(two)}`) as unknown });
  const free = (await choosePorts({}, {})).kms;
  await expect(choosePorts({ kms: free, s3: free }, {})).rejects.toMatchObject({ code: 'PORT_TAKEN' });
});

test('a lock is held once, says by whom, and can be taken again after its release', () => {
  const folder = temporaryFolder();
  const lock = lockStack(folder);
  expect(() => lockStack(folder)).toThrow(`process ${String(process.pid)}`);
  lock.release();
  lockStack(folder).release();
});

test('the cache is where WAYBILL_CACHE says, else in the XDG cache folder, else under the home', () => {
  expect(readStackSettings({ WAYBILL_CACHE: '/a' }).cacheDir).toBe('/a');
  expect(readStackSettings({ XDG_CACHE_HOME: '/b' }).cacheDir).toBe('/b/waybill');
  expect(readStackSettings({}).cacheDir).toMatch(/\/\.cache\/waybill$/);
  expect(() => readStackSettings({ WAYBILL_STACK: 'podman' })).toThrow('environment, native or docker');
  expect(() => readStackSettings({ WAYBILL_STACK: 'environment' })).toThrow('no service is named');
});

test('the doctor says what is there, and what is missing with its cure', async () => {
  const well = await examine();
  expect(well.map(({ name }) => name)).toEqual(expect.arrayContaining(['stack', 'node', 'java', 'maven', 'docker', 'cache', 'postgres', 'git']));
  expect(well.filter(({ ok }) => !ok)).toEqual([]);

  vi.stubEnv('PATH', '');
  vi.stubEnv('JAVA_HOME', '');
  vi.stubEnv('WAYBILL_STACK', 'native');
  vi.stubEnv('WAYBILL_CACHE', join(temporaryFolder(), 'empty'));
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const ill = await examine();
  expect(ill.filter(({ ok }) => !ok).map(({ name }) => name)).toEqual(['stack', 'java', 'maven', 'docker', 'git']);
  for (const { ok, cure } of ill) expect(cure === '').toBe(ok);

  vi.stubEnv('WAYBILL_S3_PORT', 'many');
  expect(await examine()).toContainEqual({ name: 'environment', ok: false, found: 'WAYBILL_S3_PORT is "many"; it must be a port from 1 to 65535, or unset', cure: 'Set the variables that the message lists.' });
});

test('two test files share the stack and neither database, topics nor bucket', async () => {
  const [one, two] = await Promise.all([isolate(), isolate()]);
  for (const name of ['databaseUrl', 'topicPrefix', 'bucket'] as const) expect(one[name]).not.toBe(two[name]);
  expect(new URL(one.databaseUrl).host).toBe(new URL(inject('stack').databaseUrl).host);
  await Promise.all([one.drop(), two.drop()]);
  const gone = new pg.Client({ connectionString: one.databaseUrl });
  // 3D000: there is no such database.
  await expect(gone.connect()).rejects.toMatchObject({ code: '3D000' });
});
