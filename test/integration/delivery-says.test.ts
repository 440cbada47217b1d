import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { wakeNextPage } from '../../delivery/fan-out.ts';
import { deliver } from '../../delivery/worker.ts';
import { silentLogger } from '../../process/log.ts';
import { DeliveryWorld } from '../support/delivery-world.ts';

/** What waybill.assets says of one workspace over sequences of events that a review came upon (I6, I25, C13). */
const seo = { 'system-prompt.md': 'You improve search rankings.\n', 'config.yaml': 'temperature: 0.1\n', 'docs/search.md': 'Search.\n' };
const support = { 'system-prompt.md': 'You help customers.\n', 'config.yaml': 'temperature: 0.2\n', 'docs/refunds.md': 'Refunds.\n' };
const sales = { 'system-prompt.md': 'You sell.\n', 'config.yaml': 'temperature: 0.3\n', 'docs/sales.md': 'Sales.\n' };
const voice = { 'rules/voice.md': 'Be brief.\n', 'docs/tone.md': 'Kindly.\n' };

let world: DeliveryWorld;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await world.publish('seo-agent', '1.0.0', seo, { access: 'open' });
  await world.publish('support-agent', '1.0.0', support, { access: 'open' });
  await world.publish('sales-agent', '1.0.0', sales, { access: 'open' });
});
afterAll(async () => { await world.close(); });

const typesSaid = async (workspace: string): Promise<string[]> => (await world.said(workspace)).map(({ type }) => type);

/** Which set a restart was asked for in which epoch, in order. */
const restartsOf = async (workspace: string): Promise<string[]> =>
  (await world.said(workspace)).flatMap(({ type, body }) => (type === 'RestartRequested' ? [`${String(body['epoch'])} ${String(body['set_digest'])}`] : []));

/** Contents of the files in waybill's own folder of a volume. */
const inOwnFolder = (workspace: string): string[] => world.residue(workspace).map((path) => readFileSync(join(world.volume(workspace), path), 'utf8'));

const deliveryOf = async (workspace: string) => await world.database<Record<string, unknown>>('deliveries').where({ workspace_id: workspace }).first();

/** An hour of settle window: what is staged waits. */
const windowed = () => ({ ...world.deps, options: { ...world.deps.options, settleWindowMs: 3_600_000 } });

async function sell(item: string, files: Record<string, string>, kind: 'template' | 'plugin' = 'template'): Promise<void> {
  await world.publish(item, '1.0.0', files, { kind });
  await world.line(item);
}

/** One claim, for what must not run on until nothing is due. */
async function deliverOnce(deps = world.deps): Promise<void> {
  const claimed = await world.claim();
  if (claimed === undefined) throw new Error('nothing was due');
  await deliver(deps, claimed, 60_000, silentLogger);
}

describe('a restart', () => {
  test.each([
    ['left for what is present and come back to', ['support-agent', 'seo-agent', 'support-agent'], 1],
    ['left for another and come back to', ['support-agent', 'sales-agent', 'support-agent'], 2],
    ['left for everything else in turn', ['support-agent', 'sales-agent', 'seo-agent', 'sales-agent', 'support-agent', 'sales-agent'], 2],
  ])('I25: is asked for once per epoch for a set that is %s', async (_how, templates, sets) => {
    const workspace = await world.online('seo-agent');
    for (const template of templates) {
      await world.record(workspace, { template });
      await world.settle();
      await world.wait(workspace);
      await world.settle();
    }
    const asked = await restartsOf(workspace);
    expect(asked).toHaveLength(sets);
    expect(new Set(asked).size).toBe(sets);
  });

  test('I25: is asked for again in the next epoch, when the set is still not the one that booted', async () => {
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { template: 'support-agent' });
    await world.settle();
    await world.record(workspace, { template: 'seo-agent' });
    await world.record(workspace, { boot: true });
    await world.settle();
    await world.record(workspace, { status: 'online' });
    await world.record(workspace, { template: 'support-agent' });
    await world.settle();
    const asked = await restartsOf(workspace);
    expect(asked).toHaveLength(2);
    expect(asked[1]).toBe(asked[0]?.replace('1 ', '2 '));
  });

  test('I25, I9: is not asked for with nothing staged, when the change was taken back within the window and made again', async () => {
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { template: 'support-agent' });
    await world.settle(windowed());
    await world.record(workspace, { template: 'seo-agent' });
    await deliverOnce(windowed());
    await world.record(workspace, { template: 'support-agent' });
    await world.settle(windowed());
    await world.wait(workspace);
    await world.settle(windowed());
    expect(await restartsOf(workspace)).toHaveLength(1);
    expect(inOwnFolder(workspace)).toContain(support['system-prompt.md']);
  });

  test('C11: has a window that ends with the change that began it', async () => {
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { template: 'support-agent' });
    await world.settle(windowed());
    expect((await deliveryOf(workspace))?.['restart_due_at']).not.toBeNull();
    await world.record(workspace, { template: 'seo-agent' });
    await world.settle(windowed());
    expect((await deliveryOf(workspace))?.['restart_due_at']).toBeNull();
    expect(await world.wait(workspace)).toBe(false);
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'AssetsReady']);
  });

  test('C13, I25: is asked for once the workspace is online, when something was removed after AssetsReady and before', async () => {
    await sell('early-malware', voice, 'plugin');
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent', plugins: ['early-malware'] });
    await world.settle();
    await world.line('early-malware', 'malware');
    await world.settle();
    // What is left is said anew, for the boot that AssetsRevoked has stopped (C11).
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'AssetsRevoked', 'AssetsReady']);
    await world.record(workspace, { status: 'online' });
    await world.settle();
    expect((await world.said(workspace)).slice(3)).toMatchObject([
      { type: 'RestartRequested', body: { epoch: 1, reason: 'revoked' } }, { type: 'AssetsReady', body: { epoch: 1, items: [{ item_id: 'seo-agent' }] } },
    ]);
  });

  test('C9: is asked for when a file of what is present turns out to be missing', async () => {
    const workspace = await world.online('seo-agent');
    rmSync(join(world.volume(workspace), 'configs/docs/search.md'));
    await world.record(workspace, { plugins: ['no-such-plugin'] });
    await world.settle();
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'RestartRequested']);
    expect(inOwnFolder(workspace)).toEqual(['Search.\n']);
    await world.record(workspace, { boot: true });
    await world.settle();
    expect(world.files(workspace)).toHaveProperty(['configs/docs/search.md'], 'Search.\n');
  });
});

describe('a lapse', () => {
  test('C13: of a second purchase is said, although one of the first was', async () => {
    await sell('renewed-voice', voice, 'plugin');
    const workspace = await world.online('seo-agent', ['renewed-voice']);
    await world.line('renewed-voice', 'non_payment');
    await world.settle();
    await world.line('renewed-voice', undefined, 'p-2');
    await world.settle();
    await world.line('renewed-voice', 'refund', 'p-2');
    await world.settle();
    const revoked = (await world.said(workspace)).filter(({ type }) => type === 'AssetsRevoked');
    expect(revoked.map(({ body }) => body['reason'])).toEqual(['non_payment', 'refund']);
  });

  test('C13: is said again, with a restart, when its reason turns into one that does not wait for the next boot', async () => {
    await sell('unpaid-voice', voice, 'plugin');
    const workspace = await world.online('seo-agent', ['unpaid-voice']);
    await world.line('unpaid-voice', 'non_payment');
    await world.settle();
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'AssetsRevoked']);
    await world.line('unpaid-voice', 'refund');
    await world.settle();
    expect((await world.said(workspace)).slice(1)).toMatchObject([
      { type: 'AssetsRevoked', body: { reason: 'non_payment', effect: 'next_boot' } },
      { type: 'AssetsRevoked', body: { reason: 'refund', effect: 'restart_requested' } },
      { type: 'RestartRequested', body: { reason: 'revoked' } },
    ]);
  });

  test('I6: that was made good before the restart is followed by AssetsReady, and nothing stays staged', async () => {
    await sell('bought-again', seo);
    const workspace = await world.online('bought-again');
    await world.line('bought-again', 'refund');
    await world.settle();
    await world.line('bought-again', undefined, 'p-2');
    await world.settle();
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'AssetsRevoked', 'RestartRequested', 'AssetsReady']);
    expect(world.residue(workspace)).toEqual([]);
  });

  test('B3: is none when a yanked release stays whose only file the user has edited', async () => {
    await world.publish('yanked-voice', '1.0.0', { 'rules/voice.md': 'Be brief.\n' }, { kind: 'plugin', access: 'open' });
    const workspace = await world.online('seo-agent', ['yanked-voice']);
    writeFileSync(join(world.volume(workspace), 'plugins/yanked-voice/rules/voice.md'), 'Be mine.\n');
    await world.record(workspace, { boot: true });
    await world.settle();
    await world.record(workspace, { status: 'online' });
    await world.settle();
    await world.decide('yanked-voice', '1.0.0', 'yanked');
    await world.settle();
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'AssetsReady']);
  });

  test('C13: for fraud overtakes the pages of what is not urgent', async () => {
    await world.settle();
    await world.database('fanouts').insert([{ item_id: 'seo-agent', lane: 'live' }, { item_id: 'support-agent', lane: 'urgent' }]);
    expect(await wakeNextPage(world.database)).toBe(true);
    expect(await world.database<{ item_id: string; done_at: Date | null }>('fanouts').whereNull('done_at').select('item_id')).toEqual([{ item_id: 'seo-agent' }]);
    await world.settle();
  });
});

describe('AssetsReady', () => {
  test('C13, C8: of a boot is not withheld by a file of a release in quarantine that was edited', async () => {
    await world.publish('moving-agent', '1.0.0', seo, { access: 'open' });
    const workspace = await world.online('moving-agent');
    writeFileSync(join(world.volume(workspace), 'configs/system-prompt.md'), 'Edited by the agent.\n');
    await world.publish('moving-agent', '2.0.0', support);
    await world.decide('moving-agent', '1.0.0', 'quarantined');
    await world.record(workspace, { boot: true });
    await world.settle();
    expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsReady', body: { epoch: 2, items: [{ item_id: 'moving-agent', version: '2.0.0' }] } });
    expect(world.files(workspace)).toHaveProperty(['configs/system-prompt.md'], support['system-prompt.md']);
  });

  test('C9: is of the same words wherever PostgreSQL sorts by a language', async () => {
    await world.publish('brandish', '1.0.0', seo, { access: 'open' });
    for (const plugin of ['brand-voice', 'brandish-voice']) await sell(plugin, voice, 'plugin');
    // Before letters a language sorts no hyphen; releases and receipts are what deliveries read sorted.
    const collate = async (collation: string): Promise<void> => {
      for (const table of ['releases', 'receipts']) await world.database.raw(`alter table ${table} alter column item_id type text collate "${collation}"`);
    };
    await collate('en-x-icu');
    try {
      const workspace = await world.online('brandish', ['brand-voice', 'brandish-voice']);
      expect(await typesSaid(workspace)).toEqual(['AssetsReady']);
      await world.line('brandish-voice', 'fraud');
      await world.line('brand-voice', 'fraud');
      await world.settle();
      expect(Object.keys(world.files(workspace)).filter((path) => path.startsWith('plugins/'))).toEqual([]);
      expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsReady', body: { items: [{ item_id: 'brandish' }] } });
    } finally {
      await collate('C');
    }
  });
});

describe('AssetsRejected', () => {
  test('I6: does not speak of a record that was never tried', async () => {
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent' });
    const { fetcher } = world.deps;
    let isChanged = false;
    await world.settle({
      ...world.deps,
      fetcher: { get: async (request: Parameters<typeof fetcher.get>[0]) => {
        const answer = await fetcher.get(request);
        if (isChanged) return answer;
        isChanged = true;
        await world.record(workspace, { template: 'support-agent' });
        answer.body[10] = (answer.body[10] ?? 0) ^ 1;
        return answer;
      } },
    });
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsReady', body: { generation: 2, template: 'support-agent' } }]);
  });

});
