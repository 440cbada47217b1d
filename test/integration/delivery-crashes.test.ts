import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { deliver, runWorker } from '../../delivery/worker.ts';
import { tx, type Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { silentLogger } from '../../process/log.ts';
import { settleClaim, wake } from '../../process/pending.ts';
import { DeliveryWorld } from '../support/delivery-world.ts';

/**
 * What a worker leaves that dies, fails or is overtaken, and what its successor makes of it (I8, I9, I24). Found by a
 * review that killed attempts between every two of their calls.
 */
const first = { 'system-prompt.md': 'You improve search rankings.\n', 'config.yaml': 'temperature: 0.1\n', 'docs/search.md': 'Search.\n' };
const second = { ...first, 'system-prompt.md': 'You improve search rankings, carefully.\n' };
const third = { ...first, 'system-prompt.md': 'You improve search rankings, gladly.\n' };
const support = { 'system-prompt.md': 'You help customers.\n', 'config.yaml': 'temperature: 0.2\n', 'docs/refunds.md': 'Refunds.\n' };
const sold = { 'system-prompt.md': 'You sell.\n', 'config.yaml': 'temperature: 0.3\n', 'docs/sales.md': 'Sales.\n' };
const voice = { 'rules/voice.md': 'Be brief.\n' };
const under = (root: string, files: Record<string, string>) => Object.fromEntries(Object.entries(files).map(([path, text]) => [`${root}/${path}`, text]));

let world: DeliveryWorld;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await world.publish('seo-agent', '1.0.0', first, { access: 'open' });
  await world.publish('support-agent', '1.0.0', support, { access: 'open' });
  await world.publish('sales-agent', '1.0.0', sold, { access: 'open' });
});
afterAll(async () => { await world.close(); });

/** Sold releases of one test alone. */
async function sell(item: string, files: Record<string, string>, kind: 'template' | 'plugin' = 'template'): Promise<void> {
  await world.publish(item, '1.0.0', files, { kind });
  await world.line(item);
}

const typesSaid = async (workspace: string): Promise<string[]> => (await world.said(workspace)).map(({ type }) => type);

/** Contents of the files in waybill's own folder of a volume. */
const inOwnFolder = (workspace: string): string[] => world.residue(workspace).map((path) => readFileSync(join(world.volume(workspace), path), 'utf8'));

const openAttempts = async (workspace: string) =>
  await world.database<{ workspace_id: string; attempt: number }>('attempts').where({ workspace_id: workspace }).whereNull('ended_at').select('attempt');

const rowOf = async (table: 'deliveries' | 'pending', workspace: string) => await world.database<Record<string, unknown>>(table).where({ workspace_id: workspace }).first();

/** An hour of settle window: what is staged waits. */
const windowed = () => ({ ...world.deps, options: { ...world.deps.options, settleWindowMs: 3_600_000 } });

describe('a worker that dies', () => {
  test('I9: after its finish, with its folder not yet in order, leaves the row, and the refunded plaintext goes with the next claim', async () => {
    await sell('refunded-late', sold);
    const workspace = await world.online('refunded-late');
    await world.line('refunded-late', 'refund');
    await world.record(workspace, { boot: true });
    expect(await world.die({ when: 'before', call: 'settle' })).toBe(true);
    expect(inOwnFolder(workspace)).toContain(sold['system-prompt.md']);
    expect(await world.settle()).toBe(1);
    expect(world.residue(workspace)).toEqual([]);
    expect(await openAttempts(workspace)).toEqual([]);
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'AssetsRevoked', 'AssetsRejected']);
  });

  test.each([
    ['with the restart already asked for', () => world.deps],
    ['within the settle window', windowed],
  ])('I9: while it stages a set that is left again leaves no plaintext of it, %s', async (how, deps) => {
    const item = `left-${how.length}`;
    await sell(item, sold);
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { template: 'support-agent' });
    await world.settle(deps());
    await world.record(workspace, { template: item });
    expect(await world.die({ when: 'after', call: 'build' }, deps())).toBe(true);
    expect(inOwnFolder(workspace)).toContain(sold['system-prompt.md']);
    await world.record(workspace, { template: 'support-agent' });
    await world.settle(deps());
    await world.line(item, 'refund');
    await world.settle(deps());
    expect(inOwnFolder(workspace)).not.toContain(sold['system-prompt.md']);
    expect(inOwnFolder(workspace)).toContain(support['system-prompt.md']);
    expect(await openAttempts(workspace)).toEqual([]);
  });

  test.each([
    { when: 'before', call: 'inspect' },
    { when: 'after', call: 'fence' },
  ] as const)('I25: $when $call, between a change and back, leaves the set staged and makes nobody ask for it twice', async (death) => {
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { template: 'support-agent' });
    await world.settle();
    await world.record(workspace, { template: 'sales-agent' });
    expect(await world.die(death)).toBe(true);
    await world.record(workspace, { template: 'support-agent' });
    await world.settle();
    expect(inOwnFolder(workspace)).toContain(support['system-prompt.md']);
    await tx(world.database, async (trx) => { await wake(trx, [workspace]); });
    await world.settle();
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'RestartRequested']);
  });

  test('I8, C13: in the middle of an upgrade of a workspace that is paused then keeps no file of a release in quarantine', async () => {
    await world.publish('mixed-agent', '1.0.0', first, { access: 'open' });
    const workspace = await world.online('mixed-agent');
    await world.publish('mixed-agent', '2.0.0', second);
    await world.record(workspace, { boot: true });
    expect(await world.die({ when: 'after', call: 'apply' })).toBe(true);
    await world.record(workspace, { status: 'paused' });
    await world.settle();
    await world.publish('mixed-agent', '3.0.0', third);
    await world.decide('mixed-agent', '2.0.0', 'quarantined');
    await world.settle();
    expect(Object.values(world.files(workspace))).not.toContain(second['system-prompt.md']);
    expect(inOwnFolder(workspace)).not.toContain(second['system-prompt.md']);
    await world.record(workspace, { boot: true });
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', third));
    expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsReady', body: { epoch: 3 } });
  });
});

describe('an attempt that fails', () => {
  test('I9: to put its folder in order is due again, and then the refunded plaintext goes', async () => {
    await sell('refunded-unwritable', sold);
    const workspace = await world.online('refunded-unwritable');
    await world.line('refunded-unwritable', 'refund');
    await world.record(workspace, { boot: true });
    const claimed = await world.claim();
    if (claimed === undefined) throw new Error('nothing was due');
    const settle = async () => { throw new Failure('subject', 'VOLUME_UNWRITABLE', 'EIO'); };
    await deliver({ ...world.deps, volumes: { ...world.deps.volumes, settle } }, claimed, 60_000, silentLogger);
    expect(await world.wait(workspace)).toBe(true);
    await world.settle();
    expect(world.residue(workspace)).toEqual([]);
    expect(await rowOf('pending', workspace)).toBeUndefined();
  });

  test('C11: to stage another set does not leave the earlier one on record without its tree', async () => {
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { template: 'support-agent' });
    await world.settle(windowed());
    await world.record(workspace, { template: 'sales-agent' });
    const claimed = await world.claim();
    if (claimed === undefined) throw new Error('nothing was due');
    const get = async () => { throw new Failure('dependency', 'UNAVAILABLE', 'the object store is away'); };
    await deliver({ ...windowed(), fetcher: { get } }, claimed, 60_000, silentLogger);
    await world.record(workspace, { template: 'support-agent' });
    await world.wait(workspace);
    await world.settle(windowed());
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'RestartRequested']);
    expect(inOwnFolder(workspace)).toContain(support['system-prompt.md']);
  });

  test('I24: because its folder was taken from under it is tried again long before its lease ends', async () => {
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent' });
    const claimed = await world.claim(600_000);
    if (claimed === undefined) throw new Error('nothing was due');
    const { volumes } = world.deps;
    const survey: typeof volumes.survey = async (input) => {
      const found = await volumes.survey(input);
      rmSync(join(world.volume(workspace), '.waybill'), { recursive: true });
      return found;
    };
    await deliver({ ...world.deps, volumes: { ...volumes, survey } }, claimed, 600_000, silentLogger);
    const { rows: [due] } = await world.database.raw<{ rows: { soon: boolean }[] }>(
      `select greatest(at, lease_until) < clock_timestamp() + interval '60 seconds' as soon from pending where workspace_id = ?`, [workspace],
    );
    expect(due).toEqual({ soon: true });
    await world.wait(workspace);
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', first));
    expect(await typesSaid(workspace)).toEqual(['AssetsReady']);
  });

  test('by a fault of ours ends the worker, and its row waits, so that a new process does not start with the same', async () => {
    await world.settle();
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent' });
    const inspect = async () => { throw new TypeError('a bug'); };
    const faulty = { ...world.deps, volumes: { ...world.deps.volumes, inspect } };
    await expect(runWorker(faulty, { atOnce: 2, leaseMs: 60_000, signal: AbortSignal.timeout(30_000), log: silentLogger })).rejects.toThrow('a bug');
    expect(await rowOf('pending', workspace)).toMatchObject({ tries: 1 });
    expect(await world.claim()).toBeUndefined();
    await world.wait(workspace);
    await world.settle();
    expect(await typesSaid(workspace)).toEqual(['AssetsReady']);
  });
});

describe('a removed workspace', () => {
  test('I9: that holds nothing keeps no staged tree', async () => {
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { template: null });
    await world.record(workspace, { boot: true });
    await world.settle();
    await world.record(workspace, { status: 'online' });
    await world.record(workspace, { template: 'support-agent' });
    await world.settle();
    expect(inOwnFolder(workspace)).toContain(support['system-prompt.md']);
    await world.record(workspace, { status: 'removed' });
    await world.settle();
    expect(world.residue(workspace)).toEqual([]);
    expect(await rowOf('deliveries', workspace)).toMatchObject({ staged: null });
  });
});

describe('an immediate removal', () => {
  test('C13: leaves what a box has to take away to the box, and takes it when the workspace is a worker\'s again', async () => {
    await world.publish('boxed-agent', '1.0.0', first, { access: 'open' });
    const workspace = await world.online('boxed-agent');
    await world.record(workspace, { delivery_mode: 'box' });
    await world.decide('boxed-agent', '1.0.0', 'quarantined');
    expect(await world.settle()).toBe(0);
    expect(world.files(workspace)).toEqual(under('configs', first));
    await world.record(workspace, { delivery_mode: 'volume' });
    await world.settle();
    expect(world.files(workspace)).toEqual({});
  });

  test('C13: takes a file of malware that was altered and has seen a boot since', async () => {
    await sell('evil-voice', { 'rules/voice.md': 'Be evil.\n' }, 'plugin');
    const workspace = await world.online('seo-agent', ['evil-voice']);
    writeFileSync(join(world.volume(workspace), 'plugins/evil-voice/rules/voice.md'), 'Be evil, quietly.\n');
    await world.record(workspace, { boot: true });
    await world.settle();
    await world.record(workspace, { status: 'online' });
    await world.settle();
    await world.line('evil-voice', 'malware');
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', first));
  });

  test('C13: of two plugins takes both when every file of one of them was altered', async () => {
    await sell('voice-a', voice, 'plugin');
    await sell('voice-z', voice, 'plugin');
    const workspace = await world.online('seo-agent', ['voice-a', 'voice-z']);
    writeFileSync(join(world.volume(workspace), 'plugins/voice-z/rules/voice.md'), 'Be long.\n');
    await world.record(workspace, { boot: true });
    await world.settle();
    await world.record(workspace, { boot: true });
    await world.line('voice-a', 'fraud');
    await world.line('voice-z', 'fraud');
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', first));
    expect((await world.said(workspace)).slice(2)).toMatchObject([
      { type: 'AssetsRevoked', body: { reason: 'fraud', effect: 'removed', items: [{ item_id: 'voice-a' }, { item_id: 'voice-z' }] } },
      { type: 'AssetsReady', body: { epoch: 3, withheld: [{ item_id: 'voice-a' }, { item_id: 'voice-z' }] } },
    ]);
  });
});

describe('a wake', () => {
  test('C12: that commits while an attempt ends is not deleted with its row', async () => {
    const workspace = await world.online('seo-agent');
    await tx(world.database, async (trx) => { await wake(trx, [workspace]); });
    const claimed = await world.claim();
    if (claimed === undefined) throw new Error('nothing was due');
    const [woken, mayCommit] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
    const waking = tx(world.database, async (trx) => {
      await wake(trx, [workspace]);
      woken.resolve(undefined);
      await mayCommit.promise;
    });
    await woken.promise;
    const settling = tx(world.database, async (trx) => { await settleClaim(trx, workspace, claimed.attempt, claimed.n); });
    await somebodyWaits(world.database);
    mayCommit.resolve(undefined);
    await Promise.all([waking, settling]);
    expect(await world.claim()).toMatchObject({ workspaceId: workspace });
  });
});

/** Until one transaction of this database waits for the lock of another. */
async function somebodyWaits(database: Database): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const { rows } = await database.raw<{ rows: unknown[] }>(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`);
    if (rows.length > 0) return;
    if (Date.now() > deadline) throw new Error('nobody waited for a lock within 10 s');
  }
}
