import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { recordBaseline } from '../../catalogue/baselines.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { parseRuntimeId } from '../../schemas/ids.ts';
import { sweepPage } from '../../delivery/sweep.ts';
import { DeliveryWorld, writeFiles } from '../support/delivery-world.ts';

const skill = (name: string): string => `---\nname: ${name}\ndescription: What it is for.\n---\n`;
const seo1 = { 'system-prompt.md': 'You improve search rankings.\n', 'config.yaml': 'temperature: 0.2\n', 'skills/audit/SKILL.md': skill('audit') };
const seo2 = { ...seo1, 'system-prompt.md': 'You improve search rankings, carefully.\n', 'skills/links/SKILL.md': skill('links') };
const support = { 'system-prompt.md': 'You help customers.\n', 'config.yaml': 'temperature: 0.5\n', 'skills/refunds/SKILL.md': skill('refunds') };
const voice = { 'rules/voice.md': 'Be brief.\n', 'skills/tone/SKILL.md': skill('tone') };

const under = (root: string, files: Record<string, string>) => Object.fromEntries(Object.entries(files).map(([path, text]) => [`${root}/${path}`, text]));

let world: DeliveryWorld;

beforeAll(async () => {
  world = await DeliveryWorld.open();
  await world.publish('seo-agent', '1.0.0', seo1);
  await world.publish('support-agent', '1.0.0', support, { access: 'open' });
  await world.publish('brand-voice', '1.0.0', voice, { kind: 'plugin' });
  await world.line('seo-agent');
});
afterAll(async () => { await world.close(); });

/** A workspace that has booted with a template and is online. */
async function online(template: string | null, plugins: string[] = []): Promise<string> {
  const workspace = randomUUID();
  await world.record(workspace, { template, plugins });
  await world.settle();
  await world.record(workspace, { status: 'online' });
  await world.settle();
  return workspace;
}

describe('a workspace that boots', () => {
  test('C9, C10, I7: finds its template at the probe paths and AssetsReady says exactly what', async () => {
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent' });
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', seo1));
    expect(world.residue(workspace)).toEqual([]);
    const said = await world.said(workspace);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatchObject({
      type: 'AssetsReady',
      body: {
        workspace_id: workspace, org_id: world.org, epoch: 1, generation: 1, assets_version: 1, template: 'seo-agent', withheld: [],
        items: [{ item_id: 'seo-agent', kind: 'template', version: '1.0.0', files: 3 }],
        probe_paths: ['configs/config.yaml', 'configs/system-prompt.md'], user_files_count: 0,
      },
    });
    expect(await world.settle()).toBe(0);
  });

  test('C6: plugins come beside the template, and without one', async () => {
    await world.line('brand-voice', undefined, 'voice-1');
    const both = await online('seo-agent', ['brand-voice']);
    expect(world.files(both)).toEqual({ ...under('configs', seo1), ...under('plugins/brand-voice', voice) });
    const alone = await online(null, ['brand-voice']);
    expect(world.files(alone)).toEqual(under('plugins/brand-voice', voice));
    expect(await world.said(alone)).toMatchObject([{ type: 'AssetsReady', body: { template: null, items: [{ item_id: 'brand-voice' }] } }]);
  });

  test('C6, I15: that never had a template or plugin leaves no row, no event and no file', async () => {
    const workspace = randomUUID();
    await world.record(workspace, {});
    await world.record(workspace, { boot: true });
    await world.record(workspace, { status: 'online' });
    expect(await world.settle()).toBe(0);
    expect(await world.said(workspace)).toEqual([]);
    expect(await world.database('deliveries').where({ workspace_id: workspace })).toEqual([]);
    expect(await world.database('pending').where({ workspace_id: workspace })).toEqual([]);
    expect(world.files(workspace)).toEqual({});
  });

  test('C12: before its purchase is parked with NOT_ENTITLED, and the purchase wakes it', async () => {
    await world.publish('late-agent', '1.0.0', support);
    const workspace = randomUUID();
    await world.record(workspace, { template: 'late-agent' });
    await world.settle();
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsRejected', body: { code: 'NOT_ENTITLED', item_id: 'late-agent', epoch: 1 } }]);
    expect(world.files(workspace)).toEqual({});
    await world.line('late-agent', undefined, 'late-1');
    await world.settle();
    expect((await world.said(workspace)).map(({ type }) => type)).toEqual(['AssetsRejected', 'AssetsReady']);
    expect(world.files(workspace)).toEqual(under('configs', support));
  });

  test.each([
    ['B1, I12: outside the catalogue', 'no-such-agent', 'TEMPLATE_UNKNOWN'],
    ['B1: that is a plugin', 'brand-voice', 'TEMPLATE_UNKNOWN'],
  ])('%s is refused with %s', async (_why, template, code) => {
    const workspace = randomUUID();
    const before = world.fetches;
    await world.record(workspace, { template });
    await world.settle();
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsRejected', body: { code, item_id: template } }]);
    expect(world.fetches).toBe(before);
  });

  test('C5: with a runtime that the template does not support is refused with RUNTIME_MISMATCH', async () => {
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent', runtime: 'hermes' });
    await world.settle();
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsRejected', body: { code: 'RUNTIME_MISMATCH' } }]);
  });

  test('C10: a plugin that is not entitled is listed as withheld and delivered at the next boot after its purchase', async () => {
    await world.publish('late-voice', '1.0.0', voice, { kind: 'plugin' });
    const workspace = await online('seo-agent', ['late-voice']);
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsReady', body: { withheld: [{ item_id: 'late-voice', code: 'NOT_ENTITLED' }] } }]);
    await world.line('late-voice', undefined, 'late-voice-1');
    await world.settle();
    expect((await world.said(workspace)).map(({ type }) => type)).toEqual(['AssetsReady', 'RestartRequested']);
    await world.record(workspace, { boot: true });
    await world.settle();
    expect(world.files(workspace)).toEqual({ ...under('configs', seo1), ...under('plugins/late-voice', voice) });
  });
});

describe('a change', () => {
  test('C11: of an online workspace is staged, asked for once, and applied in the next epoch without another fetch', async () => {
    const workspace = await online('seo-agent');
    await world.record(workspace, { template: 'support-agent' });
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', seo1));
    const asked = (await world.said(workspace)).at(-1);
    expect(asked).toMatchObject({ type: 'RestartRequested', body: { epoch: 1, reason: 'changed' } });
    await world.settle();
    expect(await world.said(workspace)).toHaveLength(2);

    const fetched = world.fetches;
    await world.record(workspace, { boot: true });
    await world.settle();
    expect(world.fetches).toBe(fetched);
    expect(world.files(workspace)).toEqual(under('configs', support));
    expect((await world.said(workspace)).at(-1)).toMatchObject({
      type: 'AssetsReady', body: { epoch: 2, template: 'support-agent', set_digest: asked?.body['set_digest'] },
    });
    expect(world.residue(workspace)).toEqual([]);
  });

  test('C11: with others in one settle window is asked for once, with the last set', async () => {
    const windowed = { ...world.deps, options: { ...world.deps.options, settleWindowMs: 3_600_000 } };
    const workspace = await online('seo-agent');
    await world.record(workspace, { template: null });
    await world.settle(windowed);
    await world.record(workspace, { template: 'support-agent' });
    await world.settle(windowed);
    expect((await world.said(workspace)).map(({ type }) => type)).toEqual(['AssetsReady']);
    await world.database<{ workspace_id: string; restart_due_at: Date }>('deliveries').where({ workspace_id: workspace }).update({ restart_due_at: new Date(0) });
    await world.database<{ workspace_id: string; at: Date }>('pending').where({ workspace_id: workspace }).update({ at: new Date(0) });
    await world.settle(windowed);
    const asked = (await world.said(workspace)).slice(1);
    expect(asked.map(({ type }) => type)).toEqual(['RestartRequested']);
    await world.record(workspace, { boot: true });
    await world.settle(windowed);
    expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsReady', body: { template: 'support-agent', set_digest: asked[0]?.body['set_digest'] } });
  });

  test('C11: that is taken back before the restart leaves nothing staged and is said again (I6, I9)', async () => {
    const workspace = await online('seo-agent');
    await world.record(workspace, { template: 'support-agent' });
    await world.settle();
    expect(world.residue(workspace).length).toBeGreaterThan(0);
    await world.record(workspace, { template: 'seo-agent' });
    await world.settle();
    expect(world.residue(workspace)).toEqual([]);
    expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsReady', body: { generation: 3, template: 'seo-agent' } });
  });

  test('C7: while an attempt runs discards it, and the last writer is what is delivered', async () => {
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent' });
    let isChanged = false;
    const { volumes } = world.deps;
    await world.settle({
      ...world.deps,
      volumes: {
        ...volumes,
        build: async (input) => {
          const built = await volumes.build(input);
          if (!isChanged) await world.record(workspace, { template: 'support-agent' });
          isChanged = true;
          return built;
        },
      },
    });
    expect(world.files(workspace)).toEqual(under('configs', support));
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsReady', body: { generation: 2, template: 'support-agent' } }]);
  });

  test('C6: clearing the template removes our files, and says so with template null', async () => {
    const workspace = await online('seo-agent');
    await world.record(workspace, { template: null });
    await world.record(workspace, { boot: true });
    await world.settle();
    expect(world.files(workspace)).toEqual({});
    expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsReady', body: { epoch: 2, template: null, items: [] } });
  });

  test('B3: of a channel wakes the workspaces that hold the item, a first release those that wait for it', async () => {
    const waiting = randomUUID();
    await world.record(waiting, { template: 'moving-agent' });
    await world.settle();
    await world.publish('moving-agent', '1.0.0', seo1, { access: 'open' });
    await world.settle();
    expect((await world.said(waiting)).map(({ type }) => type)).toEqual(['AssetsRejected', 'AssetsReady']);
    const workspace = await online('moving-agent');
    await world.publish('moving-agent', '2.0.0', seo2);
    await world.settle();
    expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'RestartRequested', body: { reason: 'changed' } });
    await world.record(workspace, { boot: true });
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', seo2));
  });
});

describe('a refund', () => {
  test('C13: asks for a restart at once, removes at that boot, and leaves the workspace without assets', async () => {
    await world.publish('refunded-agent', '1.0.0', seo1);
    await world.line('refunded-agent', undefined, 'r-1');
    const workspace = await online('refunded-agent');
    await world.line('refunded-agent', 'refund', 'r-1');
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', seo1));
    const said = await world.said(workspace);
    expect(said.slice(1)).toMatchObject([
      { type: 'AssetsRevoked', body: { items: [{ item_id: 'refunded-agent', version: '1.0.0' }], reason: 'refund', effect: 'restart_requested' } },
      { type: 'RestartRequested', body: { epoch: 1, reason: 'revoked' } },
    ]);
    await world.record(workspace, { boot: true });
    await world.settle();
    expect(world.files(workspace)).toEqual({});
    expect(world.residue(workspace)).toEqual([]);
    expect((await world.said(workspace)).slice(3)).toMatchObject([{ type: 'AssetsRejected', body: { epoch: 2, code: 'NOT_ENTITLED' } }]);
  });

  test('A8, C13: between the plan and the permit is obeyed: nothing becomes visible', async () => {
    await world.publish('raced-agent', '1.0.0', seo1);
    await world.line('raced-agent', undefined, 'x-1');
    const workspace = randomUUID();
    await world.record(workspace, { template: 'raced-agent' });
    const { volumes } = world.deps;
    await world.settle({
      ...world.deps,
      volumes: { ...volumes, build: async (input) => {
        const built = await volumes.build(input);
        await world.line('raced-agent', 'refund', 'x-1');
        return built;
      } },
    });
    expect(world.files(workspace)).toEqual({});
    expect(world.residue(workspace)).toEqual([]);
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsRejected', body: { code: 'NOT_ENTITLED' } }]);
  });
});

describe('an immediate removal', () => {
  test.each(['online', 'paused'] as const)('C13: for malware takes the files of a workspace that is %s now, altered ones too', async (status) => {
    const item = `bad-agent-${status}`;
    await world.publish(item, '1.0.0', seo1);
    await world.line(item, undefined, 'm-1');
    await world.line('brand-voice', undefined, 'voice-2');
    const workspace = await online(item, ['brand-voice']);
    await world.record(workspace, { status });
    writeFileSync(join(world.volume(workspace), 'configs/skills/audit/SKILL.md'), '# Altered\n');
    writeFileSync(join(world.volume(workspace), 'configs/notes.md'), 'mine');
    await world.line(item, 'malware', 'm-1');
    await world.settle();
    expect(world.files(workspace)).toEqual({ 'configs/notes.md': 'mine', ...under('plugins/brand-voice', voice) });
    expect(world.residue(workspace)).toHaveLength(1);
    const said = (await world.said(workspace)).slice(1);
    expect(said[0]).toMatchObject({ type: 'AssetsRevoked', body: { reason: 'malware', effect: 'removed', items: [{ item_id: item, version: '1.0.0' }] } });
    expect(said.map(({ type }) => type)).toEqual(status === 'online' ? ['AssetsRevoked', 'RestartRequested', 'AssetsRejected'] : ['AssetsRevoked']);
    await world.settle();
    expect(await world.said(workspace)).toHaveLength(said.length + 1);
    if (status === 'paused') {
      await world.record(workspace, { status: 'online' });
      await world.settle();
      expect((await world.said(workspace)).slice(said.length + 1).map(({ type }) => type)).toEqual(['RestartRequested', 'AssetsRejected']);
    }
  });

  test('C11: purges what a removed workspace holds and leaves its own files', async () => {
    const workspace = await online('seo-agent');
    writeFileSync(join(world.volume(workspace), 'configs/notes.md'), 'mine');
    await world.record(workspace, { status: 'removed' });
    await world.settle();
    expect(world.files(workspace)).toEqual({ 'configs/notes.md': 'mine' });
    expect(world.residue(workspace)).toEqual([]);
    expect((await world.said(workspace)).map(({ type }) => type)).toEqual(['AssetsReady']);
    expect(await world.settle()).toBe(0);
  });
});

describe('plaintext of what may no longer be held', () => {
  test('I9: goes with the staged tree when its entitlement ends before the restart', async () => {
    await world.publish('staged-agent', '1.0.0', support);
    await world.line('staged-agent', undefined, 's-1');
    const workspace = await online('seo-agent');
    await world.record(workspace, { template: 'staged-agent' });
    await world.settle();
    expect(world.residue(workspace)).not.toEqual([]);
    await world.line('staged-agent', 'refund', 's-1');
    await world.settle();
    expect(world.residue(workspace)).toEqual([]);
    expect(world.files(workspace)).toEqual(under('configs', seo1));
    expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsRejected', body: { code: 'NOT_ENTITLED', item_id: 'staged-agent' } });
  });

  test('I9: goes with what an attempt left that died before its permit', async () => {
    await world.publish('left-agent', '1.0.0', support);
    await world.line('left-agent', undefined, 'l-1');
    const workspace = randomUUID();
    await world.record(workspace, { template: 'left-agent' });
    const first = await world.claim(0);
    if (first === undefined) throw new Error('nothing was due');
    const died = new Error('SIGKILL');
    const dies = async () => { throw died; };
    const { volumes } = world.deps;
    const dead = { ...volumes, settle: dies, build: async (input: Parameters<typeof volumes.build>[0]) => { await volumes.build(input); throw died; } };
    await expect(world.attempt(first, { ...world.deps, volumes: dead })).rejects.toThrow('SIGKILL');
    expect(world.residue(workspace)).not.toEqual([]);
    await world.line('left-agent', 'refund', 'l-1');
    await world.settle();
    expect(world.residue(workspace)).toEqual([]);
    expect(world.files(workspace)).toEqual({});
  });
});

describe('the sweep', () => {
  const options = { thirdPartySellers: false, leaseMs: 600_000 };
  const first = '00000000-0000-0000-0000-000000000000';

  test('C12: finds nothing while every change has woken its workspaces, and a wake that was lost', async () => {
    await world.settle();
    expect((await sweepPage(world.database, first, options)).found).toEqual([]);
    const workspace = await online('seo-agent');
    await world.record(workspace, { template: 'support-agent' });
    await world.database('pending').where({ workspace_id: workspace }).delete();
    const { checked, found } = await sweepPage(world.database, first, options);
    expect(checked).toBeGreaterThan(1);
    expect(found).toEqual([workspace]);
    await world.settle();
    expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'RestartRequested' });
    expect((await sweepPage(world.database, first, options)).found).toEqual([]);
  });
});

describe('files of the user', () => {
  test('C8: beside ours stay, and an edited one of ours is kept and reported', async () => {
    const workspace = await online('seo-agent');
    const volume = world.volume(workspace);
    writeFileSync(join(volume, 'configs/notes.md'), 'mine');
    writeFileSync(join(volume, 'configs/skills/audit/SKILL.md'), '# My audit\n');
    await world.record(workspace, { boot: true });
    await world.settle();
    expect(world.files(workspace)).toMatchObject({ 'configs/notes.md': 'mine', 'configs/skills/audit/SKILL.md': '# My audit\n' });
    expect((await world.said(workspace)).at(-1)).toMatchObject({
      type: 'AssetsReady', body: { epoch: 2, user_files_count: 1, user_files_paths: ['configs/skills/audit/SKILL.md'] },
    });
  });

  test('C8: at an identity path withhold AssetsReady with CONFLICT until they give way', async () => {
    const workspace = randomUUID();
    mkdirSync(join(world.volume(workspace), 'configs'), { recursive: true });
    writeFileSync(join(world.volume(workspace), 'configs/system-prompt.md'), 'my own prompt');
    await world.record(workspace, { template: 'seo-agent' });
    await world.settle();
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsRejected', body: { code: 'CONFLICT', item_id: 'seo-agent' } }]);
    expect(readFileSync(join(world.volume(workspace), 'configs/system-prompt.md'), 'utf8')).toBe('my own prompt');
    rmSync(join(world.volume(workspace), 'configs/system-prompt.md'));
    // Looked at again by itself (C9); here without waiting for the backoff.
    expect(await world.database<{ workspace_id: string; at: Date }>('pending').where({ workspace_id: workspace }).update({ at: new Date(0) })).toBe(1);
    await world.settle();
    expect((await world.said(workspace)).at(-1)).toMatchObject({ type: 'AssetsReady', body: { epoch: 1 } });
  });

  test('C8: do not include what the platform wrote before: it is adopted and replaced, an edited copy is kept', async () => {
    const runtime = parseRuntimeId('claude-code');
    const before = { 'system-prompt.md': 'The prompt of the old image.\n', 'config.yaml': 'temperature: 1\n', 'CLAUDE.md': 'old notes\n', 'MEMORY.md': 'remember\n' };
    const files = Object.entries(before).map(([path, text]) => ({ path, sha256: sha256(text) }));
    expect(await recordBaseline(world.database, { runtime, files, reason: 'test' })).toMatchObject({ recorded: 3, refused: [{ path: 'MEMORY.md' }] });

    const adopted = randomUUID();
    writeFiles(world.volume(adopted), { ...under('configs', before), 'configs/.auth_token': 'token' });
    await world.record(adopted, { template: 'seo-agent' });
    await world.settle();
    expect(world.files(adopted)).toEqual({ ...under('configs', { ...before, ...seo1 }), 'configs/.auth_token': 'token' });
    expect((await world.said(adopted)).map(({ type }) => type)).toEqual(['AssetsReady']);

    const edited = randomUUID();
    writeFiles(world.volume(edited), under('configs', { ...before, 'system-prompt.md': 'My own prompt.\n' }));
    await world.record(edited, { template: 'seo-agent' });
    await world.settle();
    expect(world.files(edited)['configs/system-prompt.md']).toBe('My own prompt.\n');
    expect(await world.said(edited)).toMatchObject([{ type: 'AssetsRejected', body: { code: 'CONFLICT' } }]);
  });

  test('C8: a deletion counts as absent: the file is delivered again', async () => {
    const workspace = await online('seo-agent');
    rmSync(join(world.volume(workspace), 'configs/config.yaml'));
    await world.record(workspace, { boot: true });
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', seo1));
  });
});

describe('an attempt', () => {
  test('I26: is not led to the end of the numbers by a folder that a tenant made', async () => {
    const workspace = randomUUID();
    mkdirSync(join(world.volume(workspace), '.waybill/attempts/9007199254740991'), { recursive: true });
    await world.record(workspace, { template: 'seo-agent' });
    await world.settle();
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsRejected', body: { code: 'UNSUPPORTED_VOLUME' } }]);
    const after = await online('seo-agent');
    expect(world.files(after)).toEqual(under('configs', seo1));
  });

  test('I24: that was claimed away commits nothing and shows nothing', async () => {
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent' });
    const first = await world.claim(0);
    if (first === undefined) throw new Error('nothing was due');
    const reached = Promise.withResolvers<undefined>();
    const released = Promise.withResolvers<undefined>();
    const { volumes } = world.deps;
    const frozen = world.attempt(first, {
      ...world.deps,
      volumes: { ...volumes, apply: async (input) => { reached.resolve(undefined); await released.promise; return await volumes.apply(input); } },
    });
    await reached.promise;
    await world.record(workspace, { template: 'support-agent' });
    await world.settle();
    const before = world.files(workspace);
    released.resolve(undefined);
    await frozen;
    expect(before).toEqual(under('configs', support));
    expect(world.files(workspace)).toEqual(before);
    expect((await world.said(workspace)).map(({ type, body }) => [type, body['template']])).toEqual([['AssetsReady', 'support-agent']]);
  });

  test('I8: that died after its permit is gone on from, and the user finds the wanted set', async () => {
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent' });
    const first = await world.claim(0);
    if (first === undefined) throw new Error('nothing was due');
    const died = new Error('SIGKILL');
    const { volumes } = world.deps;
    const dead = { ...volumes, settle: async () => { throw died; }, probe: async () => { throw died; } };
    await expect(world.attempt(first, { ...world.deps, volumes: dead })).rejects.toThrow('SIGKILL');
    expect(await world.database('deliveries').where({ workspace_id: workspace }).first()).toMatchObject({ applying: { attempt: first.attempt } });
    await world.record(workspace, { template: 'support-agent' });
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', support));
    expect(world.residue(workspace)).toEqual([]);
  });

  test('B5: with a tampered object shows nothing and says INTEGRITY_FAILED once', async () => {
    const workspace = randomUUID();
    await world.record(workspace, { template: 'seo-agent' });
    const { fetcher } = world.deps;
    const tampering = {
      ...world.deps,
      fetcher: { get: async (request: Parameters<typeof fetcher.get>[0]) => {
        const { status, body } = await fetcher.get(request);
        const at = Math.floor(body.length / 2);
        body[at] = (body[at] ?? 0) ^ 1;
        return { status, body };
      } },
    };
    await world.settle(tampering);
    expect(world.files(workspace)).toEqual({});
    expect(await world.said(workspace)).toMatchObject([{ type: 'AssetsRejected', body: { code: 'INTEGRITY_FAILED' } }]);
    expect(await world.database('pending').where({ workspace_id: workspace }).first()).toMatchObject({ tries: 1 });
    await world.database<{ workspace_id: string; at: Date }>('pending').where({ workspace_id: workspace }).update({ at: new Date(0) });
    await world.settle();
    expect((await world.said(workspace)).map(({ type }) => type)).toEqual(['AssetsRejected', 'AssetsReady']);
  });

  test('I26: gets a number above the highest that the volume has seen', async () => {
    const workspace = randomUUID();
    mkdirSync(join(world.volume(workspace), '.waybill/attempts/900000'), { recursive: true });
    await world.record(workspace, { template: 'seo-agent' });
    await world.settle();
    expect(world.files(workspace)).toEqual(under('configs', seo1));
    const row = await world.database<{ workspace_id: string; attempt: number }>('deliveries').where({ workspace_id: workspace }).first();
    expect(row?.attempt).toBeGreaterThan(900_000);
  });
});
