import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';

import { wholeEnvironment } from '../../process/config.ts';
import { readStackSettings } from '../../stack/environment.ts';
import { findExecutable } from '../../stack/java.ts';
import { freePort } from '../../stack/ports.ts';

const version = 'v1.8.0';
/** A cold build takes about two minutes on two cores. */
export const versitygwBuildMs = 600_000;

/**
 * The stricter object store that the contract suite runs against too: built once with Go into the per-user cache.
 * @returns the path of its binary, or why there is none
 */
export async function findVersitygw(): Promise<{ binary: string } | { missing: string }> {
  const { cacheDir, path } = readStackSettings();
  const folder = join(cacheDir, `versitygw-${version}`);
  const binary = join(folder, 'versitygw');
  if (existsSync(binary)) return { binary };
  const go = await findExecutable('go', path.split(':'));
  if (go === undefined) return { missing: 'Go is not installed, so versitygw cannot be built' };
  mkdirSync(cacheDir, { recursive: true });
  const target = mkdtempSync(join(cacheDir, '.versitygw-'));
  try {
    await promisify(execFile)(go, ['install', `github.com/versity/versitygw/cmd/versitygw@${version}`], {
      env: { ...wholeEnvironment(), GOBIN: target, GOFLAGS: '-mod=mod' }, timeout: versitygwBuildMs,
    });
    mkdirSync(folder, { recursive: true });
    renameSync(join(target, 'versitygw'), binary);
    return { binary };
  } catch (error) {
    return { missing: `versitygw could not be built: ${(error as Error).message.slice(0, 500)}` };
  } finally {
    rmSync(target, { recursive: true, force: true });
  }
}

export interface ObjectStore {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Starts it on loopback for one test, with versions kept, on a folder of that test. */
export async function startVersitygw(binary: string, folder: string): Promise<ObjectStore> {
  for (const name of ['data', 'versions', 'iam']) mkdirSync(join(folder, name));
  const port = await freePort(new Set());
  const store = { endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1', accessKeyId: 'test', secretAccessKey: 'test secret' };
  const child = spawn(binary, [
    '--port', `127.0.0.1:${port}`, '--access', store.accessKeyId, '--secret', store.secretAccessKey, '--region', store.region, '--iam-dir', join(folder, 'iam'), '--quiet',
    'posix', '--versioning-dir', join(folder, 'versions'), join(folder, 'data'),
  ], { stdio: 'ignore' });
  const ended = new Promise((resolve) => { child.once('exit', resolve); });
  onTestFinished(async () => {
    child.kill();
    await ended;
  });
  const deadline = Date.now() + 20_000;
  while (!(await isListening(port))) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error('versitygw did not start');
    await delay(20);
  }
  return store;
}

async function isListening(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1');
    socket.once('connect', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => { resolve(false); });
  });
}
