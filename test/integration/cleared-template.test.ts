import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { setBaselineItem } from '../../catalogue/baseline-items.ts';
import { sweepPage } from '../../delivery/sweep.ts';
import { foldRecords } from '../../delivery/fold-records.ts';
import { tx } from '../../process/database.ts';
import { parseItemId, parseRuntimeId } from '../../schemas/ids.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { DeliveryWorld, type Files } from '../support/delivery-world.ts';

const seo = { 'system-prompt.md': 'You improve search rankings.\n', 'config.yaml': 'temperature: 0.1\n', 'docs/search.md': 'Search.\n' };
const plain = { 'system-prompt.md': 'You are an assistant.\n', 'config.yaml': 'temperature: 0.5\n' };
const plainer = { 'system-prompt.md': 'You assist.\n', 'config.yaml': 'temperature: 0.5\n' };
const voice = { 'rules/voice.md': 'Be brief.\n' };

let world: DeliveryWorld;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  await world.publish('seo-agent', '1.0.0', seo, { access: 'open', runtimes: ['claude-code', 'hermes'] });
  await world.publish('plain-agent', '1.0.0', plain, { access: 'open' });
  await world.publish('brand-voice', '1.0.0', voice, { kind: 'plugin', access: 'open' });
});
afterAll(async () => { await world.close(); });
afterEach(async () => {
  await setBaseline(null);
  await world.settle();
  // Whatever happened, nobody was forgotten (C12).
  expect((await sweepPage(world.database, '00000000-0000-0000-0000-000000000000', { thirdPartySellers: false, leaseMs: 0 })).found).toEqual([]);
});

const setBaseline = async (item: string | null) =>
  await setBaselineItem(world.database, { runtime: parseRuntimeId('claude-code'), itemId: item === null ? null : parseItemId(item), reason: 'a test' });

const under = (root: string, files: Files): Files => Object.fromEntries(Object.entries(files).map(([path, text]) => [`${root}/${path}`, text]));

async function reboot(workspace: string): Promise<void> {
  await world.record(workspace, { boot: true });
  await world.settle();
}

const lastSaid = async (workspace: string) => (await world.said(workspace)).at(-1);

describe('a template that is cleared', () => {
  test('C6: gives way to the baseline of the runtime, and every epoch has its AssetsReady with template null', async () => {
    await setBaseline('plain-agent');
    const workspace = await world.online('seo-agent', ['brand-voice']);
    await world.record(workspace, { template: null });
    await world.settle();
    expect((await lastSaid(workspace))?.type).toBe('RestartRequested');
    for (const epoch of [2, 3]) {
      await reboot(workspace);
      expect(world.files(workspace)).toEqual({ ...under('configs', plain), ...under('plugins/brand-voice', voice) });
      expect(await lastSaid(workspace)).toMatchObject({
        type: 'AssetsReady',
        body: { epoch, template: null, items: [{ item_id: 'brand-voice' }, { item_id: 'plain-agent' }], probe_paths: ['configs/config.yaml', 'configs/system-prompt.md'] },
      });
    }
  });

  test('C6: without a baseline takes our files with it, and leaves plugins and the files of the user', async () => {
    const workspace = await world.online('seo-agent', ['brand-voice']);
    await world.record(workspace, { template: null });
    for (const epoch of [2, 3]) {
      await reboot(workspace);
      expect(world.files(workspace)).toEqual(under('plugins/brand-voice', voice));
      expect(await lastSaid(workspace)).toMatchObject({ type: 'AssetsReady', body: { epoch, template: null, items: [{ item_id: 'brand-voice' }], probe_paths: [] } });
    }
    await world.record(workspace, { plugins: [] });
    await reboot(workspace);
    expect(world.files(workspace)).toEqual({});
    expect(await lastSaid(workspace)).toMatchObject({ type: 'AssetsReady', body: { epoch: 4, template: null, items: [] } });
  });

  test('C6: and set again replaces the baseline', async () => {
    await setBaseline('plain-agent');
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { template: null });
    await reboot(workspace);
    await world.record(workspace, { template: 'seo-agent' });
    await reboot(workspace);
    expect(world.files(workspace)).toEqual(under('configs', seo));
  });

  test('C6: before it was ever delivered counts as well', async () => {
    await setBaseline('plain-agent');
    const workspace = randomUUID();
    await world.record(workspace, { template: 'no-such-agent' });
    await world.record(workspace, { template: null });
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', plain));
  });

  test('C6, A3: counts as well when its event arrives after the newer one that cleared it', async () => {
    await setBaseline('plain-agent');
    const workspace = randomUUID();
    world.adopt(workspace);
    const event = (record_version: number, template: string | null) => parseEvent('TemplateChanged', {
      event_id: randomUUID(), occurred_at: Date.now(), caused_by: null, run_id: null, workspace_id: workspace, org_id: world.org, runtime: 'claude-code', template,
      plugins: [], status: 'provisioning', delivery_mode: 'volume', epoch: 1, generation: record_version, record_version, origin: 'user',
    });
    await tx(world.database, async (trx) => { await foldRecords(trx, [event(2, null)]); });
    await world.settle();
    expect(await world.said(workspace)).toEqual([]);
    await tx(world.database, async (trx) => { await foldRecords(trx, [event(1, 'seo-agent')]); });
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', plain));
  });
});

describe('a baseline', () => {
  test('C6, I15: is not for who never had a template, with plugins or without', async () => {
    await setBaseline('plain-agent');
    const withPlugin = await world.online(null, ['brand-voice']);
    expect(world.files(withPlugin)).toEqual(under('plugins/brand-voice', voice));
    const bare = await world.online(null);
    expect(world.files(bare)).toEqual({});
    expect(await world.said(bare)).toEqual([]);
  });

  test('C6: is not for who has a template, entitled or not, nor on another runtime', async () => {
    await setBaseline('plain-agent');
    expect(world.files(await world.online('seo-agent'))).toEqual(under('configs', seo));
    expect(world.files(await world.online('no-such-agent'))).toEqual({});
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent', runtime: 'hermes' });
    await world.record(workspace, { template: null });
    await world.settle();
    expect(world.files(workspace)).toEqual({});
  });

  test('C6, C12: that is set, moved on, or taken back reaches those whose template was cleared', async () => {
    await world.publish('moving-plain', '1.0.0', plain, { access: 'open' });
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { template: null });
    await reboot(workspace);
    expect(world.files(workspace)).toEqual({});
    expect(await setBaseline('moving-plain')).toEqual({ changed: true, before: null });
    await reboot(workspace);
    expect(world.files(workspace)).toEqual(under('configs', plain));
    await world.record(workspace, { status: 'online' });
    await world.settle();
    await world.publish('moving-plain', '2.0.0', plainer);
    await world.settle();
    expect((await lastSaid(workspace))?.type).toBe('RestartRequested');
    await reboot(workspace);
    expect(world.files(workspace)).toEqual(under('configs', plainer));
    await setBaseline(null);
    await reboot(workspace);
    expect(world.files(workspace)).toEqual({});
  });

  test('C6, C13: in quarantine is withheld, goes at once, and keeps nobody from booting', async () => {
    await world.publish('bad-plain', '1.0.0', plain, { access: 'open' });
    await setBaseline('bad-plain');
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { template: null });
    await reboot(workspace);
    await world.decide('bad-plain', '1.0.0', 'quarantined');
    await world.settle();
    expect(world.files(workspace)).toEqual({});
    await reboot(workspace);
    expect(await lastSaid(workspace)).toMatchObject({ type: 'AssetsReady', body: { template: null, items: [], withheld: [{ item_id: 'bad-plain', code: 'RELEASE_NOT_APPROVED' }] } });
    // One that waits for it, and holds nothing of it, hears of the next release.
    await world.record(workspace, { status: 'online' });
    await world.settle();
    await world.publish('bad-plain', '1.0.1', plainer);
    await world.settle();
    expect((await lastSaid(workspace))?.type).toBe('RestartRequested');
    await reboot(workspace);
    expect(world.files(workspace)).toEqual(under('configs', plainer));
  });

  test.each([
    ['an item that is not there', 'nothing-agent', 'NOT_FOUND'],
    ['a plugin', 'brand-voice', 'FIELD_INVALID'],
    ['an item that is sold', 'sold-agent', 'FIELD_INVALID'],
    ['an item for other runtimes', 'hermes-agent', 'RUNTIME_MISMATCH'],
  ])('C6: is not %s', async (_what, item, code) => {
    if (item === 'sold-agent') await world.publish(item, '1.0.0', plain);
    if (item === 'hermes-agent') await world.publish(item, '1.0.0', plain, { access: 'open', runtimes: ['hermes'] });
    await expect(setBaseline(item)).rejects.toMatchObject({ kind: 'input', code });
  });
});
