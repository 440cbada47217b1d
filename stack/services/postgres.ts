import { execFile } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { Failure } from '../../process/failure.ts';
import { childEnvironment } from '../environment.ts';
import type { NativeContext } from '../native-context.ts';
import { endProcess, identify, stackMark } from '../processes.ts';
import { startService, type RunningService } from '../service.ts';
import { placePostgres, type PostgresPlace } from './postgres-place.ts';

const run = promisify(execFile);

export const postgresUrl = (port: number, password: string, database: string): string =>
  `postgres://postgres:${encodeURIComponent(password)}@127.0.0.1:${String(port)}/${database}`;

/** PostgreSQL 18 from npm, with a database `waybill`. */
export async function startPostgres(context: NativeContext): Promise<RunningService> {
  const place = placePostgres(context.stateDir, context.credentials.databasePassword);
  await endLeftover(place);
  if (!existsSync(join(place.data, 'PG_VERSION'))) await initialise(context, place);
  const { port, password } = { port: context.ports.database, password: context.credentials.databasePassword };
  const service = await startService(
    {
      name: 'postgres',
      command: join(place.binaries, 'bin', 'postgres'),
      args: ['-D', place.data, '-p', String(port), ...settings(context).flatMap((setting) => ['-c', setting])],
      env: { ...childEnvironment(), LC_ALL: 'C' },
      user: place.user,
      cwd: place.data,
      logFile: join(context.logDir, 'postgres.log'),
      // Fast shutdown: SIGTERM would wait for every client to leave.
      stopSignal: 'SIGINT',
      isReady: async () => {
        await query(postgresUrl(port, password, 'postgres'), 'SELECT 1').catch((error: unknown) => {
          throw isWrongPassword(error) ? otherPassword(place.data) : error;
        });
        return true;
      },
      deadlineMs: 60_000,
      graceMs: 20_000,
    },
    context.signal,
  );
  try {
    const found = await query(postgresUrl(port, password, 'postgres'), "SELECT 1 FROM pg_database WHERE datname = 'waybill'");
    if (found === 0) await query(postgresUrl(port, password, 'postgres'), 'CREATE DATABASE waybill');
  } catch (error) {
    await service.stop();
    throw error;
  }
  return service;
}

/** SQLSTATE invalid_password: asking again does not help. */
const isWrongPassword = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === '28P01';

const otherPassword = (data: string): Failure =>
  new Failure('input', 'SERVICE_FAILED', `postgres: the data in ${data} has another password than settings.json. Put the settings.json back that was made with it, or delete that folder to begin anew.`);

function settings(context: NativeContext): string[] {
  return [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'timezone=UTC',
    'max_connections=200',
    // One attempt locks every (org, item) it touches.
    'max_locks_per_transaction=256',
    // Commits reach the kernel either way, so the end of any process loses nothing; without fsync a power cut may.
    ...(context.durable ? [] : ['fsync=off', 'full_page_writes=off']),
    stackMark(context.stateDir),
  ];
}

async function initialise(context: NativeContext, place: PostgresPlace): Promise<void> {
  const { data, user } = place;
  // An initdb that was killed leaves a folder that it refuses the next time; there is no data in it without PG_VERSION.
  rmSync(data, { recursive: true, force: true });
  mkdirSync(data, { mode: 0o700 });
  const passwordFile = join(data, '..', `.password-${String(process.pid)}`);
  writeFileSync(passwordFile, `${context.credentials.databasePassword}\n`, { mode: 0o600 });
  if (user !== undefined) {
    chownSync(data, user.uid, user.gid);
    chownSync(passwordFile, user.uid, user.gid);
  }
  try {
    await run(
      join(place.binaries, 'bin', 'initdb'),
      ['--pgdata', data, '--username=postgres', '--auth=scram-sha-256', `--pwfile=${passwordFile}`, '--encoding=UTF8', '--locale=C', '--no-sync'],
      { ...user, cwd: data, env: { ...childEnvironment(), LC_ALL: 'C' }, signal: context.signal },
    );
  } catch (error) {
    rmSync(data, { recursive: true, force: true });
    context.signal.throwIfAborted();
    const said = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr) : String(error);
    throw new Failure('dependency', 'SERVICE_FAILED', `postgres: initdb failed in ${data}: ${said.trim()}`, { cause: error });
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

/**
 * A server that outlived its parent was already ended by its mark. Should postmaster.pid still name a live process, it is
 * ended if it is a server of this folder; a zombie or a stranger with that number would make PostgreSQL refuse to start,
 * so the file goes. A pid that is simply gone is PostgreSQL's own to judge: it also looks for living backends.
 */
async function endLeftover({ data }: PostgresPlace): Promise<void> {
  const file = join(data, 'postmaster.pid');
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0]);
  if (!Number.isInteger(pid) || pid <= 0) return;
  const found = identify(pid);
  if (found !== undefined && found.command.includes(data) && found.command[0]?.endsWith('postgres') === true) {
    await endProcess(found, 'SIGINT', 20_000);
    return;
  }
  if (found !== undefined || existsByNumber(pid)) rmSync(file);
}

function existsByNumber(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Out: the number of rows. */
async function query(url: string, sql: string): Promise<number> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  // The server may end under the connection while it starts; the query says so too.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query(sql)).rowCount ?? 0;
  } finally {
    await client.end();
  }
}
