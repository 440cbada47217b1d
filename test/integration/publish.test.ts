import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { DescribeKeyCommand, type KMSClient } from '@aws-sdk/client-kms';
import { ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { createGitRepository } from '../../adapters/git/git-repository.ts';
import { createGuardedFetch } from '../../adapters/guarded-fetch/guarded-fetch.ts';
import { createHostResolver } from '../../adapters/guarded-fetch/resolve-host.ts';
import { createSealer, createUnsealer } from '../../adapters/kms/envelope.ts';
import { openKms } from '../../adapters/kms/kms-client.ts';
import { createManifestSigner } from '../../adapters/kms/manifest-signer.ts';
import { createSellerKeys } from '../../adapters/kms/seller-keys.ts';
import { createArtifactStore, type S3ArtifactStore } from '../../adapters/s3/artifact-store.ts';
import { readArchive } from '../../catalogue/archive.ts';
import { defaultLimits } from '../../catalogue/limits.ts';
import { findItem, findSeller, loadCatalogue, loadSealedReleases, type SealedRelease } from '../../catalogue/lookup.ts';
import { publishRelease, type PublishDeps } from '../../catalogue/publish/publish.ts';
import type { PublishRequest as AnyRequest } from '../../catalogue/publish/request.ts';
import { createSeller } from '../../catalogue/publish/seller.ts';
import { changeStatus, setChannel } from '../../catalogue/releases.ts';
import { fetchSealed } from '../../delivery/sources/brokered.ts';
import { unsealRelease } from '../../delivery/unseal.ts';
import { openDatabase, type Database } from '../../process/database.ts';
import { migrate } from '../../process/migrate.ts';
import { parseChannel, parseItemId, parseSellerId, parseVersion } from '../../schemas/ids.ts';
import { makeRepository, type GitFolder } from '../support/git-folder.ts';
import { isolate, type Isolated } from '../support/isolated.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** Here every request says what it is; what a folder says of itself is another test's. */
type PublishRequest = AnyRequest & { readonly item: string; readonly version: string };

let own: Isolated;
let database: Database;
let kms: KMSClient;
let store: S3ArtifactStore;
let raw: S3Client;
let deps: PublishDeps;

beforeAll(async () => {
  own = await isolate();
  const { s3 } = inject('stack');
  database = openDatabase(own.databaseUrl);
  await migrate(database, ['outbox', 'waybill']);
  kms = openKms(inject('stack').kms);
  store = createArtifactStore({ ...s3, bucket: own.bucket });
  raw = new S3Client({ endpoint: s3.endpoint, region: s3.region, credentials: s3, forcePathStyle: true });
  deps = {
    database, store, signer: createManifestSigner(kms), sealer: createSealer(kms), limits: defaultLimits,
    source: createGitRepository({ timeoutMs: 60_000, resolveHost: createHostResolver([]) }),
  };
  for (const seller of ['platform', 'acme']) await createSeller(database, createSellerKeys(kms), parseSellerId(seller));
});

afterAll(async () => {
  await database.destroy();
  raw.destroy();
  store.close();
  kms.destroy();
  await own.drop();
});

const skill = '---\nname: audit\ndescription: Audits a page.\n---\n# Audit';
const templateFiles = {
  't/system-prompt.md': 'You are an SEO agent.', 't/config.yaml': 'tone: x\n', 't/skills/audit/SKILL.md': skill, 't/skills/audit/run.sh': { executable: '#!/bin/sh' },
};

/** A repository with a template in `t`, and a request for it under an item that no other test has. */
function setUp(edit: Partial<PublishRequest> = {}): { git: GitFolder; request: PublishRequest } {
  const git = makeRepository(join(temporaryFolder(), 'r'));
  const commit = git.commit(templateFiles);
  const item = `item-${randomBytes(5).toString('hex')}`;
  return { git, request: { repository: git.path, commit, path: 't', seller: 'platform', item, kind: 'template', version: '1.0.0', runtimes: ['claude-code'], ...edit } };
}

const publish = async (request: PublishRequest, using: Partial<PublishDeps> = {}) => await publishRelease({ ...deps, ...using }, request);

interface EventRow {
  readonly type: string;
  readonly key: string;
  readonly body: Record<string, unknown>;
}
const eventsOf = async (item: string): Promise<EventRow[]> => await database<EventRow>('waybill_outbox').select('type', 'key', 'body').where({ key: item }).orderBy('id');
const auditOf = async (item: string): Promise<string[]> =>
  (await database<{ subject_id: string; action: string; id: number }>('audit').select('action').whereLike('subject_id', `${item}%`).orderBy('id')).map((row) => row.action);
const fanoutsOf = async (item: string): Promise<number> => (await database('fanouts').where({ item_id: item })).length;

/** Everything that publishing writes, to see that nothing was. */
async function everything(): Promise<string> {
  const tables = ['items', 'releases', 'channels', 'waybill_outbox', 'audit', 'fanouts'];
  const counts = await Promise.all(tables.map(async (table) => (await database(table).count({ n: '*' }))[0]?.['n']));
  const { KeyCount: objects } = await raw.send(new ListObjectsV2Command({ Bucket: own.bucket }));
  return JSON.stringify([counts, objects]);
}

async function sealedOf({ item, version }: PublishRequest): Promise<SealedRelease> {
  const [sealed] = await loadSealedReleases(database, [{ itemId: parseItemId(item), version: parseVersion(version) }]);
  if (sealed === undefined) throw new Error(`${item} is not in the catalogue`);
  return sealed;
}

/** What a delivery does with a release: grant, fetch, unseal, read. */
async function deliver(release: SealedRelease): Promise<Record<string, string>> {
  const fetcher = createGuardedFetch({ hosts: [new URL(inject('stack').s3.endpoint).host], privateHosts: [], timeoutMs: 30_000, idleMs: 15_000 });
  try {
    const signed = await store.presignGet({ key: release.objectKey, versionId: release.objectVersion, etag: release.objectEtag }, { at: new Date(), seconds: 60 });
    const ciphertext = await fetchSealed(fetcher, { ...signed, ...release });
    const { manifest, archive } = await unsealRelease(createUnsealer(kms, release.wrappingKeyId), release, ciphertext, defaultLimits);
    return Object.fromEntries([...readArchive(archive, manifest.files)].map(({ path, bytes, executable }) => [path, `${executable ? 'x ' : ''}${Buffer.from(bytes).toString('utf8')}`]));
  } finally {
    await fetcher.close();
  }
}

const delivered = { 'config.yaml': 'tone: x\n', 'skills/audit/SKILL.md': skill, 'skills/audit/run.sh': 'x #!/bin/sh', 'system-prompt.md': 'You are an SEO agent.' };
const integrity = { kind: 'subject', code: 'INTEGRITY_FAILED' };

describe('publishing a release (B3)', () => {
  test('registers it, and a delivery gets exactly what was committed', async () => {
    const { request } = setUp({ approve: true, channel: 'stable' });
    const lines: string[] = [];
    const report = await publish(request, { report: (line) => lines.push(line) });
    expect(report).toMatchObject({ outcome: 'published', status: 'approved', channel: { name: 'stable', moved: true }, defaultBranch: 'main', files: 4 });
    expect(lines.join('\n')).toContain(report.archiveSha256);
    await expect(deliver(await sealedOf(request))).resolves.toEqual(delivered);
    expect(report.objectKey).toContain(report.ciphertextSha256);
  });

  test('A4: says so in events, audit and a fan-out of the same transaction, each event with a version of its own', async () => {
    const { request } = setUp({ approve: true, channel: 'stable' });
    const { archiveSha256, archiveBytes } = await publish(request);
    const { item } = request;
    expect((await eventsOf(item)).map(({ type, body }) => [type, body['catalogue_version']])).toEqual([['ItemChanged', 1], ['ReleaseChanged', 2], ['ChannelMoved', 3]]);
    expect((await eventsOf(item)).map(({ body }) => body)).toMatchObject([
      { item_id: item, kind: 'template', seller_id: 'platform', access: 'sold', runtimes: ['claude-code'] },
      { item_id: item, version: '1.0.0', status: 'approved', archive_sha256: archiveSha256, archive_bytes: archiveBytes, files: 4 },
      { item_id: item, channel: 'stable', version: '1.0.0' },
    ]);
    await expect(auditOf(item)).resolves.toEqual(['register', 'publish', 'approve', 'set channel']);
    await expect(fanoutsOf(item)).resolves.toBe(1);
    await expect(findItem(database, parseItemId(item))).resolves.toMatchObject({ catalogueVersion: 3, kind: 'template', runtimes: ['claude-code'] });
  });

  test('the same again writes nothing and uploads nothing', async () => {
    const { git, request } = setUp({ approve: true, channel: 'stable' });
    const first = await publish(request);
    const before = await everything();
    await expect(publish(request)).resolves.toEqual({ ...first, outcome: 'unchanged', channel: { name: 'stable', moved: false } });
    const later = git.commit({ 'elsewhere/x': 'x' });
    await expect(publish({ ...request, commit: later })).resolves.toMatchObject({ outcome: 'unchanged', ciphertextSha256: first.ciphertextSha256 });
    expect(await everything()).toBe(before);
  });

  test('the same version with other content is refused, whatever differs', async () => {
    const { git, request } = setUp();
    await publish(request);
    const before = await everything();
    for (const change of [{ 't/config.yaml': 'tone: y\n' }, { 't/more': '' }, { 't/skills/audit/SKILL.md': { executable: skill } }]) {
      git.git('rm', '--quiet', '--cached', '--ignore-unmatch', 't/skills/audit/SKILL.md');
      await expect(publish({ ...request, commit: git.commit(change) })).rejects.toMatchObject({ kind: 'input', code: 'CONFLICT' });
    }
    expect(await everything()).toBe(before);
  });

  test('a release is submitted until it is approved, and no channel leads to it before', async () => {
    const { git, request } = setUp();
    await expect(publish(request)).resolves.toMatchObject({ status: 'submitted', channel: null });
    const later = { ...request, version: '1.1.0', commit: git.commit({ 't/config.yaml': 'tone: later\n' }), channel: 'stable' };
    await expect(publish(later)).rejects.toMatchObject({ kind: 'input', code: 'RELEASE_NOT_APPROVED' });
    expect((await loadCatalogue(database, [parseItemId(request.item)])).get(parseItemId(request.item))?.releases.size).toBe(1);
    await expect(publish({ ...request, approve: true, channel: 'stable' })).resolves.toMatchObject({ outcome: 'unchanged', status: 'approved', channel: { moved: true } });
    expect((await eventsOf(request.item)).map(({ type, body }) => [type, body['status'] ?? body['version']])).toEqual([
      ['ItemChanged', undefined], ['ReleaseChanged', 'submitted'], ['ReleaseChanged', 'approved'], ['ChannelMoved', '1.0.0'],
    ]);
  });

  test('a plugin needs no identity file, and may be open', async () => {
    const { request } = setUp({ kind: 'plugin', path: 't/skills', access: 'open', runtimes: ['hermes', 'claude-code', 'hermes'] });
    await expect(publish(request)).resolves.toMatchObject({ files: 2 });
    await expect(findItem(database, parseItemId(request.item))).resolves.toMatchObject({ access: 'open', runtimes: ['claude-code', 'hermes'] });
  });

  test('a later release need not repeat what the item is', async () => {
    const { git, request } = setUp({ access: 'platform' });
    await publish(request);
    const { runtimes: _runtimes, access: _access, ...short } = request;
    await expect(publish({ ...short, version: '2.0.0', commit: git.commit({ 't/x': 'x' }) })).resolves.toMatchObject({ outcome: 'published' });
  });

  test('I3: what fails on the way is not in the catalogue, and the next try succeeds', async () => {
    const { request } = setUp();
    const before = (await database('releases')).length;
    const broken = new Error('the store is gone');
    await expect(publish(request, { store: { putImmutable: async () => { throw broken; } } })).rejects.toBe(broken);
    expect((await database('releases')).length).toBe(before);
    await expect(publish(request)).resolves.toMatchObject({ outcome: 'published' });
  });
});

describe('publishers at once', () => {
  test('with the same content: one publishes, the others find it there', async () => {
    const { request } = setUp({ approve: true, channel: 'stable' });
    const reports = await Promise.all(Array.from({ length: 4 }, async () => await publish(request)));
    expect(reports.map(({ outcome }) => outcome).toSorted()).toEqual(['published', 'unchanged', 'unchanged', 'unchanged']);
    expect(new Set(reports.map(({ ciphertextSha256 }) => ciphertextSha256)).size).toBe(1);
    expect((await eventsOf(request.item)).map(({ type }) => type)).toEqual(['ItemChanged', 'ReleaseChanged', 'ChannelMoved']);
    await expect(deliver(await sealedOf(request))).resolves.toEqual(delivered);
  });

  test('with other content: one publishes, the others are refused', async () => {
    const { git, request } = setUp();
    const commits = [request.commit, git.commit({ 't/x': '1' }), git.commit({ 't/x': '2' })];
    const results = await Promise.allSettled(commits.map(async (commit) => await publish({ ...request, commit })));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results) if (result.status === 'rejected') expect(result.reason).toMatchObject({ kind: 'input', code: 'CONFLICT' });
  });

  test('of several versions: all publish, and no version of the catalogue is minted twice', async () => {
    const { request } = setUp();
    await Promise.all(['1.0.0', '1.1.0', '1.2.0', '2.0.0'].map(async (version) => await publish({ ...request, version })));
    expect((await eventsOf(request.item)).map(({ body }) => body['catalogue_version'])).toEqual([1, 2, 3, 4, 5]);
  });

  test('and channels moved at once end where the last event says', async () => {
    const { request } = setUp({ approve: true });
    const versions = ['1.0.0', '1.1.0', '1.2.0'];
    for (const version of versions) await publish({ ...request, version });
    const itemId = parseItemId(request.item);
    await Promise.all(versions.map(async (version) => await setChannel(database, { itemId, version: parseVersion(version), channel: parseChannel('beta'), reason: 'a race' })));
    const last = (await eventsOf(request.item)).findLast(({ type }) => type === 'ChannelMoved');
    expect((await loadCatalogue(database, [itemId])).get(itemId)?.channels.get(parseChannel('beta'))).toBe(last?.body['version']);
  });
});

describe('approving and channels', () => {
  test('each says once that it changed, why, and who has to look again', async () => {
    const { request } = setUp();
    await publish(request);
    const release = { itemId: parseItemId(request.item), version: parseVersion('1.0.0') };
    const channel = parseChannel('stable');
    await expect(setChannel(database, { ...release, channel, reason: 'too early' })).rejects.toMatchObject({ code: 'RELEASE_NOT_APPROVED', kind: 'input' });
    await expect(changeStatus(database, { ...release, status: 'approved', reason: 'reviewed' })).resolves.toMatchObject({ changed: true });
    await expect(changeStatus(database, { ...release, status: 'approved', reason: 'again' })).resolves.toMatchObject({ changed: false });
    await expect(setChannel(database, { ...release, channel, reason: 'release day' })).resolves.toEqual({ changed: true });
    await expect(setChannel(database, { ...release, channel, reason: 'again' })).resolves.toEqual({ changed: false });
    expect((await eventsOf(request.item)).map(({ type }) => type)).toEqual(['ItemChanged', 'ReleaseChanged', 'ReleaseChanged', 'ChannelMoved']);
    await expect(auditOf(request.item)).resolves.toEqual(['register', 'publish', 'approve', 'set channel']);
    await expect(fanoutsOf(request.item)).resolves.toBe(3);
  });

  test('of what is not there is NOT_FOUND', async () => {
    const { request } = setUp();
    await publish(request);
    const version = parseVersion('9.9.9');
    for (const itemId of [parseItemId(request.item), parseItemId('no-such-item')]) {
      await expect(changeStatus(database, { itemId, version, status: 'approved', reason: 'x' })).rejects.toMatchObject({ code: 'NOT_FOUND', kind: 'input' });
    }
  });

  test('a quarantined release stays so', async () => {
    const { request } = setUp();
    await publish(request);
    await database('releases').where({ item_id: request.item }).update({ status: 'quarantined' });
    await expect(changeStatus(database, { itemId: parseItemId(request.item), version: parseVersion('1.0.0'), status: 'approved', reason: 'x' })).rejects.toMatchObject({ code: 'CONFLICT', kind: 'input' });
  });
});

describe('what is refused, before anything is written (B1, B2)', () => {
  const cases: Record<string, [code: string, edit: Partial<PublishRequest>]> = {
    'a branch name as pin': ['PIN_UNMERGED', { commit: 'main' }],
    'a tag as pin': ['PIN_UNMERGED', { commit: 'v1.0.0' }],
    'a short id as pin': ['PIN_UNMERGED', { commit: 'abc1234' }],
    'a commit that is nowhere': ['PIN_UNMERGED', { commit: 'f'.repeat(40) }],
    'an unknown seller': ['SELLER_UNKNOWN', { seller: 'nobody' }],
    'a seller that is no name': ['FIELD_INVALID', { seller: '../x' }],
    'an item that is no name': ['FIELD_INVALID', { item: 'a/b' }],
    'a version that is a range': ['FIELD_INVALID', { version: '^1.0.0' }],
    'a version with a tag': ['FIELD_INVALID', { version: '1.0.0-rc.1' }],
    'another kind': ['FIELD_INVALID', { kind: 'theme' }],
    'another access': ['FIELD_INVALID', { access: 'free' }],
    'platform access for a third party (C16)': ['FIELD_INVALID', { access: 'platform', seller: 'acme' }],
    'a runtime that is not on the list': ['RUNTIME_UNKNOWN', { runtimes: ['claude-code', 'emacs'] }],
    'a template in the place of a runtime (B1)': ['RUNTIME_UNKNOWN', { runtimes: ['seo-agent'] }],
    'a new item without runtimes': ['FIELD_INVALID', { runtimes: [] }],
    'a channel that reads as a version': ['FIELD_INVALID', { channel: '1.0.0' }],
    'a folder outside the repository': ['FIELD_INVALID', { path: '../r/t' }],
    'a folder that is not there': ['NOT_FOUND', { path: 'nowhere' }],
    'a repository that is not there': ['NOT_FOUND', { repository: '/nowhere' }],
    'the folder above the template': ['MANIFEST_INVALID', { path: '' }],
    'a folder without identity files': ['MANIFEST_INVALID', { path: 't/skills' }],
  };

  test.each(Object.entries(cases))('%s', async (_, [code, edit]) => {
    const { request } = setUp(edit);
    const before = await everything();
    await expect(publish(request)).rejects.toMatchObject({ kind: 'input', code });
    expect(await everything()).toBe(before);
  });

  test.each<[string, string, (git: GitFolder) => string]>([
    ['an unmerged commit', 'PIN_UNMERGED', (git) => { git.git('checkout', '--quiet', '-b', 'feature'); return git.commit({ 't/x': 'x' }); }],
    ['a symbolic link', 'PATH_REFUSED', (git) => git.commit({ 't/link': { link: '../../etc/passwd' } })],
    ['a file for another item', 'PATH_REFUSED', (git) => git.commit({ 't/plugins/other/rules.md': 'x' })],
    ['a file that belongs to the user', 'PATH_REFUSED', (git) => git.commit({ 't/MEMORY.md': 'x' })],
    ['names that differ only in case', 'PATH_REFUSED', (git) => git.commit({ 't/Config.yaml': 'x' })],
    ['a name that is not in normal form C', 'PATH_REFUSED', (git) => git.commit({ 't/u\u0308.md': 'x' })],
    ['a path that is too long', 'TOO_LARGE', (git) => git.commit({ [`t/${'d/'.repeat(100)}${'x'.repeat(60)}`]: 'x' })],
    ['a file that expands too far', 'TOO_LARGE', (git) => git.commit({ 't/zeros': Buffer.alloc(4_000_000) })],
    ['a tree with ..', 'PATH_REFUSED', (git) => craft(git, '..')],
    ['a tree with .git', 'PATH_REFUSED', (git) => craft(git, '.git')],
  ])('%s in the repository', async (_, code, edit) => {
    const { git, request } = setUp();
    const commit = edit(git);
    const before = await everything();
    await expect(publish({ ...request, commit })).rejects.toMatchObject({ kind: 'input', code });
    expect(await everything()).toBe(before);
  });

  /** A commit whose `t` has a folder of this name, which git itself would never add. */
  function craft(git: GitFolder, name: string): string {
    const folder = git.gitWith(`100644 blob ${git.blob('x')}\tconfig\0`, 'mktree', '-z');
    const tree = git.gitWith(`${git.git('ls-tree', '-z', 'HEAD:t')}040000 tree ${folder}\t${name}\0`, 'mktree', '-z');
    return git.commitTree(`040000 tree ${tree}\tt\0`);
  }

  test('what an item was registered as: seller, kind, access and runtimes', async () => {
    const { request } = setUp({ access: 'sold' });
    await publish(request);
    const before = await everything();
    for (const edit of [{ seller: 'acme' }, { kind: 'plugin' }, { access: 'open' }, { runtimes: ['hermes'] }]) {
      await expect(publish({ ...request, ...edit, version: '2.0.0' })).rejects.toMatchObject({ kind: 'input', code: 'CONFLICT' });
    }
    expect(await everything()).toBe(before);
  });
});

describe('what was tampered with is not delivered (B4, B5, I11)', () => {
  const published = async (edit: Partial<PublishRequest> = {}): Promise<SealedRelease> => {
    const { request } = setUp(edit);
    await publish(request);
    return await sealedOf(request);
  };

  test('an object of the same length in its place', async () => {
    const release = await published();
    await raw.send(new PutObjectCommand({ Bucket: own.bucket, Key: release.objectKey, Body: randomBytes(release.ciphertextBytes) }));
    await expect(deliver(release)).rejects.toMatchObject(integrity);
    const { etag } = (await store.head(release.objectKey)) ?? { etag: '' };
    await expect(deliver({ ...release, objectEtag: etag })).rejects.toMatchObject(integrity);
  });

  test('the object of another release of the same seller, digests and all', async () => {
    const [release, other] = [await published(), await published()];
    const { objectKey, objectEtag, ciphertextSha256, ciphertextBytes } = other;
    await expect(deliver({ ...release, objectKey, objectEtag, ciphertextSha256, ciphertextBytes }))
      .rejects.toMatchObject({ ...integrity, message: expect.stringContaining('sealed as another release') as string });
  });

  test('the signed manifest of another release', async () => {
    const [release, other] = [await published(), await published()];
    const { manifest, manifestSignature } = other;
    await expect(deliver({ ...release, manifest, manifestSignature })).rejects.toMatchObject({ ...integrity, message: expect.stringContaining('another release') as string });
  });

  test('a manifest that was altered, with its old signature', async () => {
    const release = await published();
    await expect(deliver({ ...release, manifest: release.manifest.replace('"executable":true', '"executable":false') })).rejects.toMatchObject(integrity);
  });

  test('the keys of another seller', async () => {
    const [release, evil] = [await published(), await published({ seller: 'acme' })];
    await expect(deliver({ ...release, signingPublicKey: evil.signingPublicKey })).rejects.toMatchObject(integrity);
    await expect(deliver({ ...release, wrappingKeyId: evil.wrappingKeyId })).rejects.toMatchObject(integrity);
    await expect(deliver({ ...release, sellerId: evil.sellerId })).rejects.toMatchObject(integrity);
  });

  test.each<[string, Partial<SealedRelease>]>([
    ['version', { version: parseVersion('1.0.1') }], ['kind', { kind: 'plugin' }], ['item', { itemId: parseItemId('other') }], ['length', { archiveBytes: 1_024 }],
  ])('another %s in the catalogue than in the signed manifest', async (_, edit) => {
    await expect(deliver({ ...(await published()), ...edit })).rejects.toMatchObject(integrity);
  });
});

describe('a seller', () => {
  test('gets keys of its own once, and keeps them', async () => {
    const sellerId = parseSellerId(`seller-${randomBytes(4).toString('hex')}`);
    const first = await createSeller(database, createSellerKeys(kms), sellerId);
    const again = await createSeller(database, createSellerKeys(kms), sellerId);
    expect([first.created, again.created]).toEqual([true, false]);
    expect(again.seller).toEqual(first.seller);
    await expect(auditOf(sellerId)).resolves.toEqual(['create']);
  });

  test('made by several at once is one, and the keys of the others are given up', async () => {
    const sellerId = parseSellerId(`seller-${randomBytes(4).toString('hex')}`);
    const made: string[] = [];
    const keys = createSellerKeys(kms);
    const watched = {
      ...keys,
      createWrappingKey: async (id: typeof sellerId) => { const key = await keys.createWrappingKey(id); made.push(key); return key; },
      createSigningKey: async (id: typeof sellerId) => { const key = await keys.createSigningKey(id); made.push(key.keyId); return key; },
    };
    const reports = await Promise.all(Array.from({ length: 3 }, async () => await createSeller(database, watched, sellerId)));
    expect(reports.filter(({ created }) => created)).toHaveLength(1);
    const kept = await findSeller(database, sellerId);
    for (const { seller } of reports) expect(seller).toEqual(kept);
    const states = await Promise.all(made.map(async (KeyId) => [KeyId, (await kms.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata?.KeyState]));
    expect(new Set(states.filter(([, state]) => state === 'Enabled').map(([key]) => key))).toEqual(new Set([kept?.wrappingKeyId, kept?.signingKeyId]));
  });
});

describe('looking up', () => {
  test('B1: what is not in the catalogue is not in the answer', async () => {
    const { request } = setUp({ approve: true, channel: 'stable' });
    await publish(request);
    const [known, unknown] = [parseItemId(request.item), parseItemId('no-such-item')];
    const found = await loadCatalogue(database, [known, unknown]);
    expect([...found.keys()]).toEqual([known]);
    expect(found.get(known)?.channels).toEqual(new Map([['stable', '1.0.0']]));
    await expect(findItem(database, unknown)).resolves.toBeUndefined();
    await expect(loadSealedReleases(database, [{ itemId: known, version: parseVersion('2.0.0') }])).resolves.toEqual([]);
  });
});
