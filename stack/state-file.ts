import { randomBytes } from 'node:crypto';
import { mkdirSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readIfThere, writeAtomically } from './atomic-file.ts';
import type { StackConnections } from './connections.ts';
import type { ProviderName } from './environment.ts';
import type { StackCredentials } from './native-context.ts';
import type { Ports } from './ports.ts';
import { identify } from './processes.ts';

/** Kept between the runs of a state folder: another start has the same ports, if they are free, and the same secrets. */
export interface KeptSettings {
  ports: Partial<Ports>;
  credentials: StackCredentials;
}

/** Present while a stack runs. */
interface RunningStack {
  pid: number;
  startedAt: string;
  provider: ProviderName;
  connections: StackConnections;
}

const keptFile = (stateDir: string): string => join(stateDir, 'settings.json');
const runningFile = (stateDir: string): string => join(stateDir, 'stack.json');

/** Makes the folders of a stack. Out: the state folder's real path. The folder itself may be entered: PostgreSQL is another user there. */
export function prepareStateDir(stateDir: string): { stateDir: string; logDir: string } {
  mkdirSync(stateDir, { recursive: true, mode: 0o711 });
  const real = realpathSync(stateDir);
  for (const name of ['logs', 'kafka', 'registry', 's3', 'kms']) mkdirSync(join(real, name), { recursive: true, mode: 0o700 });
  return { stateDir: real, logDir: join(real, 'logs') };
}

/** What the last run left, or new secrets and no ports. */
export function readKeptSettings(stateDir: string): KeptSettings {
  const text = readIfThere(keptFile(stateDir));
  // Written by writeKeptSettings alone, whole or not at all.
  if (text !== undefined) return JSON.parse(text) as KeptSettings;
  return { ports: {}, credentials: { databasePassword: randomBytes(18).toString('base64url'), s3: newAccessKey(), kms: newAccessKey() } };
}

/** Looks like one of AWS, so that whatever checks its form is content. */
function newAccessKey(): { accessKeyId: string; secretAccessKey: string } {
  return { accessKeyId: `AKIA${randomBytes(8).toString('hex').toUpperCase()}`, secretAccessKey: randomBytes(30).toString('base64url') };
}

export function writeKeptSettings(stateDir: string, settings: KeptSettings): void {
  writeAtomically(keptFile(stateDir), `${JSON.stringify(settings, undefined, 2)}\n`);
}

/** Tells other commands of this checkout where the stack is (mode 0600: it holds its secrets). */
export function publishRunning(stateDir: string, provider: ProviderName, connections: StackConnections): void {
  const running: RunningStack = { pid: process.pid, startedAt: identify(process.pid)?.startedAt ?? '', provider, connections };
  writeAtomically(runningFile(stateDir), `${JSON.stringify(running, undefined, 2)}\n`);
}

export function withdrawRunning(stateDir: string): void {
  rmSync(runningFile(stateDir), { force: true });
}

/** In: a state folder. Out: the connections of the stack that runs on it; undefined when none does, whatever a dead one left. */
export function findRunningStack(stateDir: string): StackConnections | undefined {
  const text = readIfThere(runningFile(stateDir));
  if (text === undefined) return undefined;
  // Written by publishRunning alone, whole or not at all.
  const running = JSON.parse(text) as RunningStack;
  return identify(running.pid)?.startedAt === running.startedAt ? running.connections : undefined;
}
