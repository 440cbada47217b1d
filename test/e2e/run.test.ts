import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import { makeExampleRepository } from '../../cli/dev/example-repository.ts';
import { connectionsAsEnvironment } from '../../stack/connections.ts';
import { waybill, waybillJson } from '../support/command-line.ts';
import { isolate, type Isolated } from '../support/isolated.ts';

/** The roles as they are deployed: a process each, a relay for every database that publishes, no `dev` anywhere. */
const root = resolve(import.meta.dirname, '../..');

let isolated: Isolated;
let folder: string;
const processes: Role[] = [];

class Role {
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;
  text = '';

  constructor(...args: string[]) {
    const env = { ...process.env, NODE_OPTIONS: '' };
    this.#child = spawn(process.execPath, ['--disable-warning=TimeoutNegativeWarning', 'cli/main.ts', 'run', ...args], { cwd: root, env });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.setEncoding('utf8').on('data', (part: string) => { this.text += part; });
    this.ended = new Promise((end) => { this.#child.once('close', end); });
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }
}

beforeAll(async () => {
  isolated = await isolate();
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'waybill-run-')));
  const environment: Record<string, string> = {
    ...connectionsAsEnvironment(inject('stack')),
    WAYBILL_DATABASE_URL: isolated.databaseUrl, WAYBILL_DATABASE_SCHEMA: 'waybill',
    WAYBILL_CONTROL_PLANE_DATABASE_URL: isolated.databaseUrl, WAYBILL_CONTROL_PLANE_DATABASE_SCHEMA: 'control_plane',
    WAYBILL_BILLING_DATABASE_URL: isolated.databaseUrl, WAYBILL_BILLING_DATABASE_SCHEMA: 'billing',
    WAYBILL_TOPIC_PREFIX: isolated.topicPrefix, WAYBILL_S3_BUCKET: isolated.bucket, WAYBILL_REPLICATION_FACTOR: '1',
    WAYBILL_VOLUMES: join(folder, 'volumes'), WAYBILL_STATE_DIR: join(folder, 'no-dev-here'), WAYBILL_SESSION_TIMEOUT_MS: '6000', WAYBILL_LOG_LEVEL: 'info',
  };
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  for (const owner of ['waybill', 'control-plane', 'billing']) await waybillJson('migrate', '--database', owner);
  await waybillJson('topics', 'apply');
  await waybillJson('schemas', 'register');
  await waybillJson('seller', 'create', 'platform');
  const { path, commit } = await makeExampleRepository(join(folder, 'examples'), new AbortController().signal);
  await waybillJson('publish', '--repo', path, '--commit', commit, '--path', 'templates/seo-agent', '--seller', 'platform', '--item', 'seo-agent', '--kind', 'template', '--version', '1.0.0', '--runtime', 'claude-code', '--approve', '--channel', 'stable');
});

afterAll(async () => {
  for (const one of processes) one.signal('SIGKILL');
  await Promise.all(processes.map(async ({ ended }) => await ended));
  vi.unstubAllEnvs();
  await isolated.drop();
  rmSync(folder, { recursive: true, force: true });
});

describe('waybill run', () => {
  const workspace = randomUUID();
  const org = randomUUID();

  test('in a process for each role and each relay, a purchase becomes files on a volume', async () => {
    processes.push(
      new Role('--role', 'entitlements', '--role', 'workspaces', '--role', 'expiry'),
      new Role('--role', 'deliveries'),
      new Role('--role', 'relay'),
      ...['control_plane', 'billing'].map((schema) => new Role('--role', 'relay', '--database', isolated.databaseUrl, '--schema', schema)),
    );

    mkdirSync(join(folder, 'volumes', workspace), { recursive: true });
    await waybillJson('trigger', 'provision', '--org', org, '--workspace', workspace, '--template', 'seo-agent');
    await expect.poll(async () => (await waybill('explain', workspace)).out, { timeout: 40_000, interval: 200 }).toContain('NOT_ENTITLED  seo-agent');
    await waybillJson('trigger', 'purchase', '--org', org, '--item', 'seo-agent');
    await expect.poll(async () => (await waybill('explain', workspace)).out, { timeout: 20_000, interval: 200 }).toContain('READY  AssetsReady was said for epoch 1');
    expect(existsSync(join(folder, 'volumes', workspace, 'configs/system-prompt.md'))).toBe(true);
  }, 90_000);

  test('SIGTERM drains every role within the grace period, and each ends with 0 (I22)', async () => {
    const started = performance.now();
    for (const one of processes) one.signal('SIGTERM');
    const codes = await Promise.all(processes.map(async ({ ended }) => await ended));
    expect(codes, processes.map(({ text }) => text).join('\n')).toEqual(processes.map(() => 0));
    expect(performance.now() - started).toBeLessThan(10_000);
  }, 30_000);

  test('logs are JSON, one object a line, and hold no secret', () => {
    const lines = processes.flatMap(({ text }) => text.split('\n')).filter((line) => line.startsWith('{'));
    for (const line of lines) expect(JSON.parse(line)).toHaveProperty('level');
    const text = processes.map((one) => one.text).join('\n');
    const { s3, kms } = inject('stack');
    for (const secret of [s3.secretAccessKey, kms.secretAccessKey, new URL(isolated.databaseUrl).password, 'X-Amz-Signature']) expect(text).not.toContain(secret);
  });
});
