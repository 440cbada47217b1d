import { spawn } from 'node:child_process';
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { findJava } from '../../stack/java.ts';
import type { NativeContext } from '../../stack/native-context.ts';
import { freePort } from '../../stack/ports.ts';
import { processesOfStack } from '../../stack/processes.ts';
import { placePostgres } from '../../stack/services/postgres-place.ts';
import { postgresUrl, startPostgres } from '../../stack/services/postgres.ts';
import { prepareStateDir, readKeptSettings } from '../../stack/state-file.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const isRoot = process.getuid?.() === 0;
/** Unlike other helpers of the stack, PostgreSQL is started here alone, without the rest of its context. */
async function contextOf(folder: string): Promise<NativeContext> {
  const prepared = prepareStateDir(folder);
  const database = await freePort(new Set());
  return {
    ...prepared,
    java: (await findJava(undefined, '')) ?? { path: '', major: 0, version: '', digest: '' },
    ports: { kafka: 0, kafkaController: 0, registry: 0, s3: 0, database, kms: 0 },
    credentials: readKeptSettings(prepared.stateDir).credentials,
    durable: false,
    report: () => undefined,
    signal: new AbortController().signal,
    fetch: async () => await Promise.reject(new Error('PostgreSQL needs no part.')),
  };
}

function foldersOf(prefix: string): string[] {
  const home = dirname(prefix);
  return readdirSync(home).map((name) => join(home, name)).filter((path) => path.startsWith(prefix));
}

async function ask({ ports, credentials }: NativeContext, sql: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: postgresUrl(ports.database, credentials.databasePassword, 'waybill') });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

test.runIf(isRoot)("as root under a 0700 home PostgreSQL gets a private place of its own, and its data is kept", async () => {
  const home = temporaryFolder();
  chmodSync(home, 0o700);
  const folder = join(home, 'checkout', '.waybill');
  mkdirSync(folder, { recursive: true });
  const context = await contextOf(folder);
  const place = placePostgres(folder, context.credentials.databasePassword);
  const prefix = place.data.slice(0, -16);
  expect(prefix).toMatch(/^\/var\/tmp\/waybill-postgres\/data-[0-9a-f]{16}-$/);
  onTestFinished(() => {
    for (const name of foldersOf(prefix)) rmSync(name, { recursive: true, force: true });
  });

  const first = await startPostgres(context);
  onTestFinished(async () => await first.stop());
  await ask(context, 'CREATE TABLE kept (n int)');
  await first.stop();
  const again = await startPostgres(context);
  expect(await ask(context, 'SELECT count(*)::int AS n FROM kept')).toEqual([{ n: 0 }]);
  expect(lstatSync(place.data)).toMatchObject({ uid: place.user?.uid });
  expect(lstatSync(place.data).mode & 0o777).toBe(0o700);
  await again.stop();

  // Whoever deletes the state folder, and its password with it, begins anew.
  const anew = await contextOf(folder);
  const empty = await startPostgres(anew);
  onTestFinished(async () => await empty.stop());
  await expect(ask(anew, 'SELECT FROM kept')).rejects.toMatchObject({ code: '42P01' });
  expect(foldersOf(prefix)).toHaveLength(1);
});

test('data with another password than the settings is told at once', async () => {
  const folder = temporaryFolder();
  const context = await contextOf(folder);
  await (await startPostgres(context)).stop();
  const started = Date.now();
  await expect(startPostgres(await contextOf(folder))).rejects.toMatchObject({ code: 'SERVICE_FAILED', message: expect.stringContaining('has another password') as unknown });
  expect(Date.now() - started).toBeLessThan(30_000);
  expect(processesOfStack(context.stateDir)).toEqual([]);
});

test('kill -9 of the server, and a stranger with the pid that it left behind, do not keep it from starting', async () => {
  const folder = temporaryFolder();
  const context = await contextOf(folder);
  const { data, user } = placePostgres(context.stateDir, context.credentials.databasePassword);
  const first = await startPostgres(context);
  onTestFinished(async () => await first.stop());
  await ask(context, "CREATE TABLE kept AS SELECT 'a row' AS text");
  process.kill(first.pid, 'SIGKILL');
  await first.ended;
  await expect.poll(() => processesOfStack(context.stateDir)).toEqual([]);

  const stranger = spawn('sleep', ['60'], { ...user, stdio: 'ignore' });
  onTestFinished(() => {
    stranger.kill();
  });
  const file = join(data, 'postmaster.pid');
  writeFileSync(file, readFileSync(file, 'utf8').replace(/^\d+/, String(stranger.pid)));
  const second = await startPostgres(context);
  onTestFinished(async () => await second.stop());
  expect(await ask(context, 'SELECT text FROM kept')).toEqual([{ text: 'a row' }]);
  expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
});
