import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';

import { createRegistry } from '../../adapters/kafka/registry.ts';
import { createKnownSchemas } from '../../schemas/known-schemas.ts';
import { openDatabase, tx } from '../../process/database.ts';
import { readAssets, type AssetsEvent, type ReadAssetsOptions } from '../../producers/client.ts';
import { changeStatus, installControlPlane, provisionWorkspace, recordAssetsReady } from '../../producers/control-plane.ts';
import { deriveEventId, parseOrgId, parseSha256, parseWorkspaceId, type WorkspaceId } from '../../schemas/ids.ts';
import type { TypedEvent } from '../../schemas/topics.ts';
import { startPipeline, type TestPipeline } from '../support/pipeline.ts';

const noon = Date.UTC(2026, 0, 1, 12);
const org = parseOrgId('00000000-0000-4000-8000-00000000000a');

let pipeline: TestPipeline;
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => { pipeline = await startPipeline(); });
afterEach(async () => { for (const reader of running.splice(0)) await reader.stop(); });
afterAll(async () => { await pipeline.drop(); });

let workspaces = 0;
const newWorkspace = (): WorkspaceId => parseWorkspaceId(`00000000-0000-4000-8000-${String((workspaces += 1)).padStart(12, '0')}`);

function ready(workspace_id: WorkspaceId, assets_version: number): TypedEvent<'AssetsReady'> {
  return {
    type: 'AssetsReady',
    event: {
      event_id: deriveEventId('AssetsReady', workspace_id, assets_version), occurred_at: noon, caused_by: null, run_id: null, workspace_id, org_id: org, assets_version,
      epoch: 1, generation: 1, set_digest: parseSha256('0'.repeat(64)), template: null, items: [], withheld: [], probe_paths: [], user_files_count: 0, user_files_sha256: null, user_files_paths: [],
    },
  };
}

interface Reading {
  readonly taken: AssetsEvent[];
  readonly errors: object[];
  readonly warnings: string[];
  stop(): Promise<void>;
}

/** Reads with a group of the test's own; `onEvent` runs before an event counts as taken. */
function read(groupId: string, onEvent: (event: AssetsEvent) => Promise<void> = async () => await Promise.resolve(), overrides: Partial<ReadAssetsOptions> = {}): Reading {
  const { registryUrl } = inject('stack');
  const taken: AssetsEvent[] = [];
  const errors: object[] = [];
  const warnings: string[] = [];
  const abort = new AbortController();
  const done = readAssets({
    kafka: pipeline.kafka, registry: createRegistry({ url: registryUrl, timeoutMs: 5000 }), known: createKnownSchemas(pipeline.database, registryUrl),
    groupId: pipeline.isolated.topicPrefix + groupId, topicPrefix: pipeline.isolated.topicPrefix, sessionTimeoutMs: 6000, signal: abort.signal,
    log: { warn: (_, message) => { warnings.push(message); }, error: (details) => { errors.push(details); } },
    onEvent: async (event) => {
      await onEvent(event);
      taken.push(event);
    },
    ...overrides,
  });
  const reading = {
    taken,
    errors,
    warnings,
    async stop() {
      abort.abort();
      await done;
    },
  };
  running.push(reading);
  return reading;
}

const versionsOf = (events: readonly AssetsEvent[], workspace: WorkspaceId): number[] =>
  events.filter(({ event }) => event.workspace_id === workspace).map(({ event }) => event.assets_version);
const until = async (holds: () => unknown, wanted: unknown, timeout = 20_000): Promise<void> => { await expect.poll(holds, { timeout, interval: 20 }).toEqual(wanted); };

describe('reading waybill.assets', () => {
  test('events arrive typed and in order per workspace, and a reader that comes back goes on where the group was', async () => {
    const [a, b] = [newWorkspace(), newWorkspace()];
    await pipeline.publish(ready(a, 1), ready(b, 1), ready(a, 2));
    const first = read('order');
    await until(() => [versionsOf(first.taken, a), versionsOf(first.taken, b)], [[1, 2], [1]]);
    const [event] = first.taken;
    expect(event?.type === 'AssetsReady' && event.event.epoch).toBe(1);
    await first.stop();
    await pipeline.publish(ready(a, 3));
    const second = read('order');
    await until(() => versionsOf(second.taken, a), [3]);
  });

  test('a repeat and a late one are left out, unless asked for (I6)', async () => {
    const [a, end] = [newWorkspace(), newWorkspace()];
    await pipeline.publish(ready(a, 2), ready(a, 1), ready(a, 2), ready(a, 3), ready(end, 1));
    const [news, all] = [read('news'), read('all', undefined, { repeats: true })];
    await until(() => [versionsOf(news.taken, end), versionsOf(all.taken, end)], [[1], [1]]);
    await until(() => [versionsOf(news.taken, a), versionsOf(all.taken, a)], [[2, 3], [2, 1, 2, 3]]);
  });

  test('whatever the handler throws, the event comes again, in order, and other workspaces do not wait for it', async () => {
    const a = newWorkspace();
    const others = Array.from({ length: 30 }, newWorkspace);
    const failures: unknown[] = [new TypeError('a bug'), 'a text', new RangeError('another'), new Error('a database that is down'), undefined, new SyntaxError('bad JSON')];
    const reader = read('throwing', async ({ event }) => {
      await Promise.resolve();
      if (event.workspace_id === a && failures.length > 0) throw failures.shift();
    });
    await pipeline.publish(ready(a, 1), ready(a, 2), ...others.map((one) => ready(one, 1)));
    await until(() => others.filter((one) => versionsOf(reader.taken, one).length === 1).length >= 20, true);
    expect(failures.length).toBeGreaterThan(0);
    await until(() => versionsOf(reader.taken, a), [1, 2]);
    expect(failures).toEqual([]);
    expect(reader.warnings.filter((message) => message.includes('crashed'))).toEqual([]);
  });

  test('an event that was never taken is there for the next reader of the group', async () => {
    const a = newWorkspace();
    await pipeline.publish(ready(a, 1), ready(a, 2));
    const failing = read('untaken', async ({ event }) => {
      await Promise.resolve();
      if (event.workspace_id === a) throw new Error('not today');
    });
    await until(() => failing.warnings.length >= 3, true);
    await failing.stop();
    const next = read('untaken');
    await until(() => versionsOf(next.taken, a), [1, 2]);
  });

  test('a record that can never be read is told as an error and passed over (I17)', async () => {
    const a = newWorkspace();
    await pipeline.publish(ready(a, 1));
    await pipeline.publishRaw('waybill.assets', [{ key: a, value: Buffer.from('no magic') }, { key: a, value: null }]);
    await pipeline.publish(ready(a, 2));
    const reader = read('poison');
    await until(() => versionsOf(reader.taken, a), [1, 2]);
    expect(reader.errors).toMatchObject([{ code: 'BAD_MAGIC' }, { code: 'BAD_MAGIC' }]);
    await reader.stop();
    const again = read('poison');
    await pipeline.publish(ready(a, 3));
    await until(() => versionsOf(again.taken, a), [3]);
    expect(again.errors).toEqual([]);
  });

  test('a handler that takes longer than the session keeps its partition, and the event is taken once', { timeout: 40_000 }, async () => {
    const a = newWorkspace();
    let calls = 0;
    const slow = async ({ event }: AssetsEvent): Promise<void> => {
      if (event.workspace_id !== a) return;
      calls += 1;
      await delay(8000);
    };
    const readers = [read('slow', slow), read('slow', slow)];
    await pipeline.publish(ready(a, 1));
    await until(() => readers.flatMap(({ taken }) => versionsOf(taken, a)), [1], 30_000);
    expect(calls).toBe(1);
  });

  test('readers of one group share the workspaces, and one takes over from the other (I3)', { timeout: 40_000 }, async () => {
    const all = Array.from({ length: 40 }, newWorkspace);
    const [one, two] = [read('shared'), read('shared')];
    const seen = (version: number): number => new Set([...one.taken, ...two.taken].filter(({ event }) => event.assets_version === version).map(({ event }) => event.workspace_id)).size;
    for (let version = 1; one.taken.length === 0 || two.taken.length === 0; version += 1) {
      await pipeline.publish(...all.map((workspace) => ready(workspace, version)));
      await until(() => seen(version) >= all.length, true);
    }
    await one.stop();
    const before = new Set(two.taken);
    await pipeline.publish(...all.map((workspace) => ready(workspace, 100_000)));
    await until(() => two.taken.filter((event) => !before.has(event) && event.event.assets_version === 100_000).length, all.length);
  });
});

test('a control plane that records what it reads may go online, and not before (C11)', async () => {
  const database = openDatabase(pipeline.isolated.databaseUrl, { schema: 'control_plane' });
  try {
    await database.raw('create schema control_plane');
    await installControlPlane(database);
    const workspace_id = newWorkspace();
    const catalogue = { findItem: async () => await Promise.resolve({ kind: 'template' as const, runtimes: ['claude-code'] }) };
    await tx(database, async (trx) => await provisionWorkspace(trx, catalogue, { workspace_id, org_id: org, runtime: 'claude-code', template: 'seo-agent' }));
    const online = async (): Promise<string> => await tx(database, async (trx) => (await changeStatus(trx, { workspace_id, status: 'online' })).record.status);
    await expect(online()).rejects.toMatchObject({ code: 'MISSING_ASSETS' });
    const reader = read('control-plane', async (event) => {
      if (event.type === 'AssetsReady') await tx(database, async (trx) => await recordAssetsReady(trx, event.event));
    });
    await pipeline.publish(ready(workspace_id, 1));
    await until(() => versionsOf(reader.taken, workspace_id), [1]);
    expect(await online()).toBe('online');
    await reader.stop();
  } finally {
    await database.destroy();
  }
});
