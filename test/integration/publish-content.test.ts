import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { packRelease } from '../../catalogue/publish/pack.ts';
import { findSeller } from '../../catalogue/lookup.ts';
import { publishRelease, type PublishReport } from '../../catalogue/publish/publish.ts';
import { registerRelease } from '../../catalogue/publish/register.ts';
import { completeRequest, parseRequest, type PublishRequest } from '../../catalogue/publish/request.ts';
import { sealArchive } from '../../catalogue/publish/seal.ts';
import { signManifest } from '../../catalogue/publish/sign.ts';
import { parseSellerId } from '../../schemas/ids.ts';
import { makeRepository, type Content, type GitFolder } from '../support/git-folder.ts';
import { openPublisher, type Publisher } from '../support/publisher.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

let publisher: Publisher;
beforeAll(async () => { publisher = await openPublisher(); });
afterAll(async () => { await publisher[Symbol.asyncDispose](); });

const skill = '---\nname: audit\ndescription: Audits a page.\n---\n';
const template = { 'system-prompt.md': 'You are an SEO agent.', 'config.yaml': 'agent: {name: seo}\n', 'skills/audit/SKILL.md': skill };
const token = `ghp_${'a1B2c3D4e5F6'.repeat(3)}`;

function commit(files: Readonly<Record<string, Content>>): { git: GitFolder; id: string } {
  const git = makeRepository(join(temporaryFolder(), 'checkout'));
  return { git, id: git.commit(files) };
}

async function publish(files: Readonly<Record<string, Content>>, edit: Partial<PublishRequest> = {}): Promise<PublishReport> {
  const { git, id } = commit(files);
  return await publishRelease(publisher.deps, { repository: git.path, commit: id, path: '', seller: 'platform', item: 'seo', kind: 'template', version: '1.0.0', runtimes: ['claude-code'], ...edit });
}

describe('config.yaml, field by field, before signing (B6)', () => {
  test('B6, I14: a field that a gate reads is refused at publish, and nothing is written', async () => {
    const before = await publisher.countRows();
    for (const config of ['MODEL: opus\n', 'agent: x\nmodel: opus\n', 'env: {Model: opus}\n']) {
      await expect(publish({ ...template, 'config.yaml': config })).rejects.toMatchObject({ kind: 'input', code: 'GATE_FIELD' });
    }
    await expect(publish({ ...template, 'config.yaml': '- a\n' })).rejects.toMatchObject({ kind: 'input', code: 'MANIFEST_INVALID' });
    expect(await publisher.countRows()).toEqual(before);
  });

  test('B6, C5: a runtime that is not the item\'s only one is taken out, said, and not delivered; every other byte is', async () => {
    const lines: string[] = [];
    const { git, id } = commit({ ...template, 'config.yaml': 'agent: {name: seo} # ours\nruntime: hermes # old\ntemplate: other\ntools: [read]\n' });
    const report = await publishRelease({ ...publisher.deps, report: (line) => lines.push(line) }, {
      repository: git.path, commit: id, path: '', seller: 'platform', item: 'stripped', kind: 'template', version: '1.0.0', runtimes: ['claude-code'],
    });
    expect(report.stripped).toEqual(['runtime', 'template']);
    expect(lines.join('\n')).toContain('the field "runtime" is taken out');
    await expect(publisher.deliver('stripped', '1.0.0')).resolves.toEqual({ ...template, 'config.yaml': 'agent: {name: seo} # ours\ntools: [read]\n' });
  });

  test('a plugin\'s config.yaml is its own', async () => {
    await expect(publish({ 'config.yaml': 'model: x\n' }, { item: 'with-config', kind: 'plugin' })).resolves.toMatchObject({ stripped: [] });
  });

  test('B6: a release that carries such a field all the same is refused at fetch, before any of it is used', async () => {
    const { database, signer, sealer, store, limits } = publisher.deps;
    const request = completeRequest(parseRequest({ repository: 'checkout', commit: 'a'.repeat(40), path: '', seller: 'platform', item: 'older', kind: 'template', version: '1.0.0', runtimes: ['claude-code'] }), undefined);
    const seller = await findSeller(database, parseSellerId('platform'));
    if (seller === undefined || request.runtimes === undefined) throw new Error('the platform is a seller');
    // What publishing did before it judged fields: everything but that.
    const files = Object.entries({ ...template, 'config.yaml': 'agent: x\nMODEL: opus\n' }).map(([path, text]) => ({ path, bytes: Buffer.from(text), executable: false }));
    const { manifest, archive } = packRelease({ ...request, runtimes: request.runtimes, source: request.pin }, files, limits);
    const signed = await signManifest(signer, seller, manifest);
    const sealed = await sealArchive(sealer, seller.wrappingKeyId, manifest, archive, limits);
    const stored = await store.putImmutable({ key: sealed.objectKey, bytes: sealed.ciphertext, sha256: sealed.ciphertextSha256 });
    await registerRelease(database, request, manifest, { signed, sealed, stored });
    await expect(publisher.deliver('older', '1.0.0')).rejects.toMatchObject({ kind: 'subject', code: 'GATE_FIELD' });
  });
});

describe('what else is looked at (B3)', () => {
  test('a secret is refused by file, line and rule, and is not repeated anywhere', async () => {
    const before = await publisher.countRows();
    const error: unknown = await publish({ ...template, 'skills/audit/notes.md': `one\n${token}\n` }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: 'input', code: 'SECRET_FOUND', message: expect.stringContaining('"skills/audit/notes.md" line 2: rule github') as string });
    expect((error as Error).message).not.toContain(token);
    expect(await publisher.countRows()).toEqual(before);
  });

  test('a skill that no agent would find is refused', async () => {
    await expect(publish({ ...template, 'skills/audit/SKILL.md': '# Audit' })).rejects.toMatchObject({ kind: 'input', code: 'MANIFEST_INVALID' });
  });

  test('executables are declared, to who approves and in what is signed', async () => {
    const report = await publish({ ...template, 'skills/audit/run.sh': { executable: '#!/bin/sh' }, 'skills/audit/a.sh': { executable: 'x' } }, { item: 'runs' });
    expect(report.executables).toEqual(['skills/audit/a.sh', 'skills/audit/run.sh']);
    await expect(publisher.deliver('runs', '1.0.0')).resolves.toMatchObject({ 'skills/audit/run.sh': 'x #!/bin/sh' });
  });
});

describe('a folder that describes itself', () => {
  const plugin = { '.claude-plugin/plugin.json': JSON.stringify({ name: 'brand', version: '1.2.3' }), 'skills/audit/SKILL.md': skill };
  const bare: Partial<PublishRequest> = { item: undefined, kind: undefined, version: undefined };

  test('needs neither item nor kind nor version', async () => {
    await expect(publish(plugin, bare)).resolves.toMatchObject({ itemId: 'brand', version: '1.2.3' });
    await expect(publish({ 'SKILL.md': skill }, { ...bare, version: '2.0.0' })).resolves.toMatchObject({ itemId: 'audit', version: '2.0.0' });
  });

  test('is delivered as it is, its description too', async () => {
    await publish(plugin, { ...bare, item: 'brand-again', version: '9.0.0' });
    await expect(publisher.deliver('brand-again', '9.0.0')).resolves.toEqual(plugin);
  });

  test('may be a template only by name: what is asked for is', async () => {
    await expect(publish({ ...template, ...plugin }, { item: 'both', version: '1.0.0' })).resolves.toMatchObject({ itemId: 'both' });
    await expect(publish(template, bare)).rejects.toMatchObject({ code: 'FIELD_INVALID', message: expect.stringContaining('--kind') as string });
  });
});

test('neither what is signed nor what is kept names a path of this machine', async () => {
  const report = await publish(template, { item: 'named' });
  expect(report.repository).toBe('checkout');
  const { git, id } = commit(template);
  git.git('remote', 'add', 'origin', 'https://bob:hunter2@git.example.com/acme/templates.git');
  await publishRelease(publisher.deps, { repository: git.path, commit: id, path: '', seller: 'platform', item: 'named-too', kind: 'template', version: '1.0.0', runtimes: ['claude-code'] });
  const { database } = publisher.deps;
  const kept = JSON.stringify([await database('releases').select('manifest', 'repository'), await database('audit').select('detail')]);
  expect(kept).toContain('https://git.example.com/acme/templates.git');
  for (const secret of [git.path, '/tmp', 'hunter2']) expect(kept).not.toContain(secret);
});
