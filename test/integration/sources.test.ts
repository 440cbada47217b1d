import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest';

import { createGuardedFetch } from '../../adapters/guarded-fetch/guarded-fetch.ts';
import { moveSource } from '../../catalogue/release-source.ts';
import { tarHeader } from '../../catalogue/tar.ts';
import type { ReleaseSource } from '../../catalogue/source.ts';
import type { DeliveryDeps } from '../../delivery/attempt.ts';
import { checkSource } from '../../delivery/sources/check-source.ts';
import { parseItemId, parseVersion } from '../../schemas/ids.ts';
import { startArchiveHost, type ArchiveHost } from '../support/archive-host.ts';
import { waybillJson } from '../support/command-line.ts';
import { DeliveryWorld } from '../support/delivery-world.ts';

/** Releases that come from the store, from a git host, and from a git host with the token of the platform (C2). */
const seo = {
  'system-prompt.md': 'You improve search rankings.\n', 'config.yaml': 'temperature: 0.1\n', 'skills/audit/SKILL.md': '---\nname: audit\ndescription: Looks.\n---\nLook.\n',
  [`docs/${'a-long-folder-name/'.repeat(6)}deep-one.md`]: 'Far below.\n', 'docs/größe.md': 'Größe.\n',
};
const token = 'ghp_a-token-that-nobody-may-read';

let world: DeliveryWorld;
let host: ArchiveHost;
let deps: DeliveryDeps;
beforeAll(async () => {
  world = await DeliveryWorld.open();
  host = await startArchiveHost((name) => join(world.folder, `${name}.git`));
  const fetcher = createGuardedFetch({ hosts: [], privateHosts: [new URL(inject('stack').s3.endpoint).host, `127.0.0.1:${String(host.port)}`], timeoutMs: 10_000, idleMs: 3_000 });
  const git = { archives: [host.pattern], bytesMax: 1024 * 1024, platformToken: token, repositories: [originOf('moved-agent'), originOf('private-agent')] };
  deps = { ...world.deps, fetcher, git };
  await publish('moved-agent');
});
afterAll(async () => {
  await host.close();
  await world.close();
});
beforeEach(() => {
  host.answer = undefined;
  host.authorizations.length = 0;
});

const originOf = (item: string): string => `https://git.example.test/waybill/${item}.git`;
const publish = async (item: string, terms: Parameters<DeliveryWorld['publish']>[3] = { access: 'open' }, files: Record<string, string> = seo): Promise<void> => {
  await world.publish(item, '1.0.0', files, { origin: originOf(item), ...terms });
};
const move = async (item: string, source: ReleaseSource) =>
  await moveSource(world.database, { itemId: parseItemId(item), version: parseVersion('1.0.0'), source, reason: 'a test' });
const check = async (item: string, source: ReleaseSource, git = deps.git): Promise<void> => {
  await checkSource(world.database, { itemId: parseItemId(item), version: parseVersion('1.0.0'), source }, { ...git, fetcher: deps.fetcher, limits: deps.limits });
};

async function deliver(item: string, using: DeliveryDeps = deps): Promise<string> {
  const workspace = randomUUID();
  await world.record(workspace, { template: item });
  await world.settle(using);
  return workspace;
}

const codeOf = async (workspace: string): Promise<unknown> =>
  (await world.database<Record<string, unknown>>('attempts').where({ workspace_id: workspace }).orderBy('attempt', 'desc').first())?.['code'];

describe('moving a release between sources (C2)', () => {
  test('C2: is one change of the catalogue: the same tree, set and AssetsReady from each, and nobody is woken', async () => {
    await world.settle(deps);
    const told: unknown[] = [];
    const trees: unknown[] = [];
    for (const source of ['brokered', 'open', 'platform-token', 'brokered'] as const) {
      await check('moved-agent', source);
      host.authorizations.length = 0;
      const outbox = await world.database('waybill_outbox').count();
      await move('moved-agent', source);
      expect(await world.database('pending').count()).toMatchObject([{ count: 0 }]);
      expect(await world.database('fanouts').whereNull('done_at').count()).toMatchObject([{ count: 0 }]);
      expect(await world.database('waybill_outbox').count()).toEqual(outbox);
      const workspace = await deliver('moved-agent');
      expect(host.authorizations).toEqual({ brokered: [], open: [undefined], 'platform-token': [`token ${token}`] }[source]);
      trees.push(world.files(workspace));
      const [{ type, body } = { type: '', body: {} }] = await world.said(workspace);
      expect(type).toBe('AssetsReady');
      const { event_id: _event, occurred_at: _at, caused_by: _cause, workspace_id: _workspace, ...rest } = body;
      told.push(rest);
    }
    expect(new Set(told.map((one) => JSON.stringify(one))).size).toBe(1);
    expect(new Set(trees.map((one) => JSON.stringify(one))).size).toBe(1);
    expect(trees[0]).toMatchObject({ 'configs/docs/größe.md': 'Größe.\n' });
  });

  test('wakes who had failed to fetch, and nobody else', async () => {
    await publish('stuck-agent');
    await move('stuck-agent', 'open');
    const well = await deliver('stuck-agent');
    host.answer = () => ({ status: 404 });
    const stuck = await deliver('stuck-agent');
    expect(await codeOf(stuck)).toBe('UPSTREAM');
    expect((await move('stuck-agent', 'brokered')).woken).toBe(1);
    await world.settle(deps);
    expect(Object.keys(world.files(stuck))).toEqual(Object.keys(world.files(well)));
  });

  test('is a command, which fetches once before it moves anything', async () => {
    const { databaseUrl } = world.isolated;
    const environment = {
      WAYBILL_DATABASE_URL: databaseUrl, WAYBILL_GIT_ARCHIVES: `git.example.test=${host.pattern.url}`, WAYBILL_FETCH_HOSTS: `127.0.0.1:${String(host.port)}`, WAYBILL_STATE_DIR: '/nowhere/at/all',
    };
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    try {
      await publish('told-agent');
      expect(await waybillJson('release', 'source', 'told-agent@1.0.0', 'open', '--reason', 'a public repository')).toMatchObject({ source: 'open', before: 'brokered', changed: true });
      expect(host.authorizations).toEqual([undefined]);
      host.answer = () => ({ status: 200, body: Buffer.from('no archive') });
      await expect(check('told-agent', 'open')).rejects.toMatchObject({ kind: 'input', code: 'INTEGRITY_FAILED' });
      expect(await world.database('audit').where({ subject_id: 'told-agent@1.0.0', action: 'source' }).select('outcome', 'detail'))
        .toEqual([{ outcome: 'open', detail: { reason: 'a public repository', before: 'brokered' } }]);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test('is refused where the commit is not what is delivered: config.yaml lost a field at publish', async () => {
    await publish('shaped-agent', { access: 'open' }, { ...seo, 'config.yaml': 'temperature: 0.1\ntemplate: shaped-agent\n' });
    await expect(check('shaped-agent', 'open')).rejects.toMatchObject({ code: 'INTEGRITY_FAILED', cure: expect.stringContaining('config.yaml') as string });
  });
});

describe('who may come from where', () => {
  test('C2: the token is for the platform alone: a third party is refused when it is moved, and when the catalogue lies', async () => {
    await publish('foreign-agent', { access: 'open', seller: 'acme' });
    await expect(move('foreign-agent', 'platform-token')).rejects.toMatchObject({ code: 'SOURCE_REFUSED', message: expect.stringContaining('seller acme') as string });
    await expect(check('foreign-agent', 'platform-token')).rejects.toMatchObject({ code: 'SOURCE_REFUSED' });
    await world.database('releases').where({ item_id: 'foreign-agent' }).update({ source: 'platform-token' });
    const workspace = await deliver('foreign-agent', { ...deps, options: { ...deps.options, thirdPartySellers: true } });
    expect(await codeOf(workspace)).toBe('SOURCE_REFUSED');
    expect(host.authorizations).toEqual([]);
    expect(world.files(workspace)).toEqual({});
    await world.database('pending').delete();
  });

  test.each([
    ['without a token', { platformToken: undefined }], ['for a repository that is not named', { repositories: [] }], ['for one whose name only begins alike', { repositories: ['https://git.example.test/waybill/private-agent'] }],
  ])('C2: the token is not sent %s', async (_how, change) => {
    await publish('private-agent', { access: 'platform' });
    const workspaceSource = { ...deps.git, ...change };
    await expect(check('private-agent', 'platform-token', workspaceSource)).rejects.toMatchObject({ code: 'SOURCE_REFUSED' });
    expect(host.authorizations).toEqual([]);
  });

  test.each([
    ['sold', 'open'], ['sold', 'platform-token'], ['platform', 'open'],
  ] as const)('what is %s does not come from the source %s', async (access, source) => {
    await publish(`${access}-agent`, { access });
    await expect(move(`${access}-agent`, source)).rejects.toMatchObject({ code: 'SOURCE_REFUSED' });
  });

  test('what was published from a folder of some machine comes from the store alone', async () => {
    await world.publish('local-agent', '1.0.0', seo, { access: 'open' });
    await expect(move('local-agent', 'open')).rejects.toMatchObject({ code: 'SOURCE_REFUSED', message: expect.stringContaining('no https URL') as string });
  });
});

describe('what a git host sends is held against what was signed (B5)', () => {
  const altered = (change: (tar: Buffer) => Buffer) => (archive: Buffer) => ({ status: 200, body: gzipSync(change(gunzipSync(archive))) });
  const replaced = (from: string, to: string) => altered((tar) => Buffer.from(tar.toString('latin1').replace(from, to), 'latin1'));

  test.each<[string, string, NonNullable<ArchiveHost['answer']>]>([
    ['another byte in a file', 'INTEGRITY_FAILED', replaced('You improve', 'You impress')],
    ['an archive that ends early', 'INTEGRITY_FAILED', altered((tar) => tar.subarray(0, 2_000))],
    ['no gzip', 'INTEGRITY_FAILED', () => ({ status: 200, body: Buffer.from('<html>') })],
    ['nothing', 'INTEGRITY_FAILED', () => ({ status: 200, body: Buffer.alloc(0) })],
    ['a bomb', 'TOO_LARGE', altered((tar) => Buffer.concat([tarHeader('seo/big.bin', 64 * 1024 * 1024, false), Buffer.alloc(64 * 1024 * 1024), tar]))],
    ['more than may be fetched', 'TOO_LARGE', () => ({ status: 200, body: Buffer.alloc(1024 * 1024 + 1) })],
    ['a redirect', 'ADDRESS_REFUSED', () => ({ status: 302, headers: { location: 'http://169.254.169.254/' } })],
    ['a refusal', 'UPSTREAM', () => ({ status: 401 })],
    ['nothing of that name', 'UPSTREAM', () => ({ status: 404 })],
  ])('B5, I13: %s is %s, and nothing is written', async (_what, code, answer) => {
    await move('moved-agent', 'platform-token');
    host.answer = answer;
    const workspace = await deliver('moved-agent', { ...deps, limits: { ...deps.limits, archiveBytesMax: 3 * 1024 * 1024 } });
    const attempt = await world.database<Record<string, unknown>>('attempts').where({ workspace_id: workspace }).first();
    expect(attempt?.['code']).toBe(code);
    expect(world.files(workspace)).toEqual({});
    expect(JSON.stringify(await world.database('audit').where({ subject_id: workspace }))).not.toContain(token);
    expect(JSON.stringify(attempt)).not.toContain(token);
    await world.database('pending').delete();
  });
});
