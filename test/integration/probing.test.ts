import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { askForProbes } from '../../delivery/probing.ts';
import { sweepPage } from '../../delivery/sweep.ts';
import { findRuntime, runtimeIds } from '../../schemas/runtimes.ts';
import { DeliveryWorld } from '../support/delivery-world.ts';

const seo = { 'system-prompt.md': 'You improve search rankings.\n', 'config.yaml': 'temperature: 0.1\n', 'docs/search.md': 'Search.\n' };
const support = { 'system-prompt.md': 'You help customers.\n', 'config.yaml': 'temperature: 0.2\n' };
const hourMs = 3_600_000;

let world: DeliveryWorld;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  for (const [item, files] of [['seo-agent', seo], ['support-agent', support]] as const) {
    await world.publish(item, '1.0.0', files, { access: 'open', runtimes: runtimeIds });
  }
});
afterAll(async () => { await world.close(); });

/** As if the last probe were of long ago: the sweep asks for one, and a worker does it. */
async function probe(workspace: string): Promise<number> {
  await world.database.raw(`update deliveries set probed_at = '-infinity' where workspace_id = ?`, [workspace]);
  const asked = await askForProbes(world.database, hourMs);
  await world.settle();
  return asked;
}

const typesSaid = async (workspace: string): Promise<string[]> => (await world.said(workspace)).map(({ type }) => type);

const deliveryOf = async (workspace: string) => await world.database<Record<string, unknown>>('deliveries').where({ workspace_id: workspace }).first();

const file = (workspace: string, path: string): string => join(world.volume(workspace), path);

describe('the sweep', () => {
  test('C9: has the identity files of a workspace that runs read again, and says nothing when they are the wanted ones (I6)', async () => {
    const workspace = await world.online('seo-agent');
    const fetches = world.fetches;
    expect(await probe(workspace)).toBe(1);
    expect(await typesSaid(workspace)).toEqual(['AssetsReady']);
    expect(world.fetches).toBe(fetches);
    expect(await deliveryOf(workspace)).toMatchObject({ probe_due: false });
    expect(await askForProbes(world.database, hourMs)).toBe(0);
  });

  test('C9: finds a missing identity file: what is present is unknown, a restart is asked for, and the next boot mends it', async () => {
    const workspace = await world.online('seo-agent');
    rmSync(file(workspace, 'configs/system-prompt.md'));
    await probe(workspace);
    expect((await deliveryOf(workspace))?.['present']).toBeNull();
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'RestartRequested']);
    // A running agent sees no file change under it (C11).
    expect(world.files(workspace)).not.toHaveProperty(['configs/system-prompt.md']);
    await world.record(workspace, { boot: true });
    await world.settle();
    expect(world.files(workspace)).toHaveProperty(['configs/system-prompt.md'], seo['system-prompt.md']);
    expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsReady', body: { epoch: 2 } });
  });

  test('C8, C9: finds an identity file that the user has edited: CONFLICT, said once, until it is as it was', async () => {
    const workspace = await world.online('seo-agent');
    writeFileSync(file(workspace, 'configs/config.yaml'), 'temperature: 9\n');
    await probe(workspace);
    await world.wait(workspace);
    await world.settle();
    expect((await world.said(workspace)).slice(1)).toMatchObject([{ type: 'AssetsRejected', body: { code: 'CONFLICT', item_id: 'seo-agent' } }]);
    // It is looked at again by itself, so the sweep has nothing to find (C12).
    expect((await sweepPage(world.database, '00000000-0000-0000-0000-000000000000', { thirdPartySellers: false, leaseMs: 0 })).found).toEqual([]);
    writeFileSync(file(workspace, 'configs/config.yaml'), seo['config.yaml']);
    await world.wait(workspace);
    await world.settle();
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'AssetsRejected', 'AssetsReady']);
  });

  test('C9: leaves it to the user what becomes of files that no boot reads', async () => {
    const workspace = await world.online('seo-agent');
    rmSync(file(workspace, 'configs/docs/search.md'));
    await probe(workspace);
    expect(await typesSaid(workspace)).toEqual(['AssetsReady']);
  });

  test('C9: asks for the oldest probes first, no more than 16 at once, and for none of who does not run', async () => {
    const ids = Array.from({ length: 40 }, () => randomUUID());
    await world.database.raw('update deliveries set probed_at = clock_timestamp()');
    await world.database.raw(
      `insert into deliveries (workspace_id, org_id, announced, probed_at)
       select id::uuid, gen_random_uuid(), '{"kind":"ready"}', clock_timestamp() - (100 - n) * interval '1 hour'
       from unnest(?::text[]) with ordinality as given(id, n)`, [ids],
    );
    await world.database.raw(
      `insert into workspace_records (workspace_id, org_id, runtime, plugins, status, delivery_mode, epoch, generation, record_version, removed, digest, origin, event_id)
       select id::uuid, gen_random_uuid(), 'claude-code', '{}', case when n % 2 = 0 then 'online' else 'paused' end, 'volume', 1, 1, 1, false, '', 'user', gen_random_uuid()
       from unnest(?::text[]) with ordinality as given(id, n)`, [ids],
    );
    try {
      expect(await askForProbes(world.database, 80 * hourMs)).toBe(10);
      expect(await askForProbes(world.database, hourMs)).toBe(6);
      expect(await askForProbes(world.database, hourMs)).toBe(0);
      const { rows } = await world.database.raw<{ rows: { lane: number; workspace_id: string }[] }>('select workspace_id, lane from pending');
      expect(new Set(rows.map((row) => row.lane))).toEqual(new Set([3]));
      expect(rows.map((row) => row.workspace_id).toSorted()).toEqual(ids.filter((_id, i) => i % 2 === 1).slice(0, 16).toSorted());
    } finally {
      for (const table of ['pending', 'deliveries', 'workspace_records']) await world.database(table).whereIn('workspace_id', ids).delete();
    }
  });
});

test.each(runtimeIds)('C9, I7: on the runtime %s the identity files are read at its own probe path', async (runtime) => {
  const root = findRuntime(runtime)?.configRoot ?? '';
  const workspace = randomUUID();
  await world.record(workspace, { template: 'seo-agent', runtime });
  await world.settle();
  expect((await world.said(workspace))[0]).toMatchObject({ type: 'AssetsReady', body: { probe_paths: [`${root}/config.yaml`, `${root}/system-prompt.md`] } });
  expect(readFileSync(file(workspace, `${root}/system-prompt.md`), 'utf8')).toBe(seo['system-prompt.md']);
  await world.record(workspace, { status: 'online' });
  await world.settle();
  writeFileSync(file(workspace, `${root}/system-prompt.md`), 'Edited.\n');
  await probe(workspace);
  expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsRejected', body: { code: 'CONFLICT' } });
});

describe('a workspace that is resumed', () => {
  test('C9: is probed before anything else is believed of it', async () => {
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { status: 'paused' });
    await world.settle();
    expect(await probe(workspace)).toBe(0);
    rmSync(file(workspace, 'configs/system-prompt.md'));
    await world.record(workspace, { status: 'online' });
    await world.settle();
    expect(await typesSaid(workspace)).toEqual(['AssetsReady', 'RestartRequested']);
  });

  test('C9: into its next epoch is read as a whole', async () => {
    const workspace = await world.online('seo-agent');
    await world.record(workspace, { status: 'hibernated' });
    await world.settle();
    rmSync(file(workspace, 'configs/docs/search.md'));
    await world.record(workspace, { boot: true });
    await world.settle();
    expect(world.files(workspace)).toHaveProperty(['configs/docs/search.md'], seo['docs/search.md']);
  });
});

describe('drift', () => {
  const boot = async (workspace: string): Promise<void> => {
    await world.record(workspace, { boot: true });
    await world.settle();
    await world.record(workspace, { status: 'online' });
    await world.settle();
    await world.wait(workspace);
  };
  const restarts = async (workspace: string): Promise<number> => (await typesSaid(workspace)).filter((type) => type === 'RestartRequested').length;

  test('I25: that a restart did not help against is said, and no other restart is asked for, until something else is wanted', async () => {
    const workspace = await world.online('seo-agent');
    for (let epoch = 1; epoch <= 4; epoch += 1) {
      // An image that takes the file away whenever it starts.
      rmSync(file(workspace, 'configs/system-prompt.md'));
      await probe(workspace);
      expect(await restarts(workspace)).toBe(1);
      if (epoch > 1) expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsRejected', body: { epoch, code: 'MISSING_ASSETS', item_id: 'seo-agent' } });
      await boot(workspace);
      expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsReady', body: { epoch: epoch + 1 } });
    }
    rmSync(file(workspace, 'configs/system-prompt.md'));
    await probe(workspace);
    await world.record(workspace, { template: 'support-agent' });
    await world.settle();
    expect(await restarts(workspace)).toBe(2);
  });

  test('I25: with an epoch without it between is asked for again', async () => {
    const workspace = await world.online('seo-agent');
    rmSync(file(workspace, 'configs/system-prompt.md'));
    await probe(workspace);
    await boot(workspace);
    await boot(workspace);
    rmSync(file(workspace, 'configs/system-prompt.md'));
    await probe(workspace);
    expect(await restarts(workspace)).toBe(2);
  });
});

describe('what waits on a volume', () => {
  test('I9: a copy of an earlier release goes when that release is quarantined, although another stands there', async () => {
    await world.publish('waiting-agent', '1.0.0', seo, { access: 'open' });
    const workspace = await world.online('waiting-agent');
    await world.publish('waiting-agent', '2.0.0', support);
    await world.record(workspace, { boot: true });
    await world.settle();
    const copies = (): string[] => world.residue(workspace).map((path) => readFileSync(join(world.volume(workspace), path), 'utf8'));
    expect(copies()).toContain(seo['system-prompt.md']);
    await world.decide('waiting-agent', '1.0.0', 'quarantined');
    await world.settle();
    expect(copies()).toEqual([]);
    expect(world.files(workspace)).toHaveProperty(['configs/system-prompt.md'], support['system-prompt.md']);
    expect((await deliveryOf(workspace))?.['waiting']).toEqual([]);
  });

  test('C11: nothing, once the volume of a removed workspace is gone: after half an hour of tries that is the end', async () => {
    const workspace = await world.online('seo-agent');
    rmSync(world.volume(workspace), { recursive: true });
    await world.record(workspace, { status: 'removed' });
    rmSync(world.volume(workspace), { recursive: true });
    for (let tries = 1; tries <= 7; tries += 1) {
      await world.settle();
      expect(await world.wait(workspace)).toBe(true);
    }
    await world.settle();
    expect(await world.wait(workspace)).toBe(false);
    expect(await world.database('receipts').where({ workspace_id: workspace })).toEqual([]);
    const [last] = await world.database<Record<string, unknown>>('audit').where({ subject_id: workspace, action: 'remove' });
    expect(last).toMatchObject({ outcome: 'volume gone' });
  });

  test('C9: a running workspace without its volume is tried again and is not taken for removed', async () => {
    const workspace = await world.online('seo-agent');
    rmSync(world.volume(workspace), { recursive: true });
    await probe(workspace);
    for (let tries = 1; tries <= 9; tries += 1) {
      expect(await world.wait(workspace)).toBe(true);
      await world.settle();
    }
    expect(await deliveryOf(workspace)).toMatchObject({ parked_code: 'VOLUME_UNWRITABLE' });
    expect(await world.wait(workspace)).toBe(true);
  });
});
