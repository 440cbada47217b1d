import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';

import { packRelease } from '../../catalogue/publish/pack.ts';
import { manifestMessage, verifyManifest } from '../../catalogue/manifest-signature.ts';
import { parseManifest, serializeManifest, type ReleaseManifest } from '../../catalogue/manifest.ts';
import { defaultLimits } from '../../catalogue/limits.ts';
import { parseCommitId, parseItemId, parseRuntimeId, parseSellerId, parseVersion } from '../../schemas/ids.ts';

const text = (content: string): Buffer => Buffer.from(content);
const release = {
  itemId: parseItemId('seo-agent'), kind: 'template' as const, sellerId: parseSellerId('platform'), version: parseVersion('1.2.3'),
  runtimes: [parseRuntimeId('claude-code')],
  source: { repository: 'https://git.example.com/templates.git', commit: parseCommitId('a'.repeat(40)), path: 'seo-agent' },
};
const files = [
  { path: 'skills/audit/SKILL.md', bytes: text('# Audit'), executable: false },
  { path: 'system-prompt.md', bytes: text('You are an SEO agent.'), executable: false },
  { path: 'config.yaml', bytes: text('model: x'), executable: false },
  { path: 'skills/audit/run.sh', bytes: text('#!/bin/sh'), executable: true },
];
const { manifest } = packRelease(release, files, defaultLimits);
const signed = serializeManifest(manifest);
const invalid = expect.objectContaining({ code: 'MANIFEST_INVALID', kind: 'subject' }) as Error;

describe('the manifest of a release', () => {
  test('is read back as it was written', () => {
    expect(parseManifest(signed)).toEqual(manifest);
  });

  test('marks executables, and the identity files at the root that a boot of its runtimes reads (B3, C9)', () => {
    expect(manifest.files.map(({ path, executable, identity }) => [path, executable, identity])).toEqual([
      ['config.yaml', false, true],
      ['skills/audit/SKILL.md', false, false],
      ['skills/audit/run.sh', true, false],
      ['system-prompt.md', false, true],
    ]);
  });

  test('of a plugin marks no identity file, whatever its files are called', () => {
    const plugin = packRelease({ ...release, kind: 'plugin' }, files, defaultLimits);
    expect(plugin.manifest.files.some((file) => file.identity)).toBe(false);
  });

  const change = (edit: (fields: Record<string, unknown>) => void): string => {
    const fields = JSON.parse(signed) as Record<string, unknown>;
    edit(fields);
    return JSON.stringify(fields);
  };
  const firstFile = (fields: Record<string, unknown>): Record<string, unknown> => (fields['files'] as Record<string, unknown>[])[0] ?? {};

  test.each<[string, string]>([
    ['that is not JSON', signed.slice(1)],
    ['with blanks', ` ${signed}`],
    ['with a field more', change((fields) => { fields['extra'] = 1; })],
    ['with a field twice', signed.replace('{"format":1', '{"format":1,"format":1')],
    ['with its fields in another order', JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(signed) as object).toReversed()))],
    ['of another format', change((fields) => { fields['format'] = 2; })],
    ['without files', change((fields) => { delete fields['files']; })],
    ['with unsorted files', change((fields) => { fields['files'] = (fields['files'] as unknown[]).toReversed(); })],
    ['with a file twice', change((fields) => { fields['files'] = [firstFile(fields), ...(fields['files'] as unknown[])]; })],
    ['with a digest of another kind', change((fields) => { firstFile(fields)['sha256'] = 'abc'; })],
    ['with a negative length', change((fields) => { firstFile(fields)['bytes'] = -1; })],
    ['with another length of its archive', change((fields) => { fields['archive_bytes'] = 10_240; })],
    ['with a path that leaves its folder', change((fields) => { firstFile(fields)['path'] = '../config.yaml'; })],
    ['with an absolute path', change((fields) => { firstFile(fields)['path'] = '/etc/passwd'; })],
    ['with a path below plugins/', change((fields) => { firstFile(fields)['path'] = 'plugins/x'; })],
    ['with a list for an object', '[]'],
    ['that is null', 'null'],
  ])('is refused %s', (_, altered) => {
    expect(() => parseManifest(altered)).toThrow(invalid);
  });
});

describe('the signature of a manifest', () => {
  const pair = generateKeyPairSync('ed25519');
  const publicKey = pair.publicKey.export({ type: 'spki', format: 'der' });
  const signature = sign(null, manifestMessage(signed), pair.privateKey);
  const integrity = expect.objectContaining({ code: 'INTEGRITY_FAILED', kind: 'subject' }) as Error;

  test('by its seller lets it be read', () => {
    expect(verifyManifest(signed, signature, publicKey)).toEqual(manifest);
  });

  test('covers a message that a KMS signs, whatever the length of the manifest', () => {
    expect(manifestMessage('x'.repeat(1_000_000)).length).toBeLessThan(4_096);
  });

  test.each<[string, () => ReleaseManifest]>([
    ['of another seller', () => verifyManifest(signed, signature, generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }))],
    ['over another text', () => verifyManifest(signed.replace('1.2.3', '1.2.4'), signature, publicKey)],
    ['over the text alone, without the domain', () => verifyManifest(signed, sign(null, Buffer.from(signed), pair.privateKey), publicKey)],
    ['that is empty', () => verifyManifest(signed, Buffer.alloc(0), publicKey)],
    ['by a key that is none', () => verifyManifest(signed, signature, Buffer.from('key'))],
    ['by a key of another kind', () => {
      const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      return verifyManifest(signed, sign(null, manifestMessage(signed), other.privateKey), other.publicKey.export({ type: 'spki', format: 'der' }));
    }],
  ])('%s is refused', (_, verify) => {
    expect(verify).toThrow(integrity);
  });
});

describe('packing', () => {
  const pack = (edit: Partial<typeof release>, of = files, limits = defaultLimits) => () => packRelease({ ...release, ...edit }, of, limits);
  const refused = (code: string): Error => expect.objectContaining({ code, kind: 'input' }) as Error;

  test('refuses a template without an identity file, and says which', () => {
    expect(pack({}, files.filter((file) => file.path !== 'config.yaml'))).toThrow(refused('MANIFEST_INVALID'));
    expect(pack({}, files.filter((file) => file.path !== 'config.yaml'))).toThrow(/lacks config\.yaml/u);
  });

  test('refuses an identity file under another name than the one that is probed', () => {
    expect(pack({}, files.map((file) => (file.path === 'system-prompt.md' ? { ...file, path: 'prompts/system-prompt.md' } : file)))).toThrow(refused('MANIFEST_INVALID'));
  });

  test('refuses an empty folder', () => {
    expect(pack({ kind: 'plugin' as never }, [])).toThrow(refused('MANIFEST_INVALID'));
  });

  test('names every path that the policy refuses, up to ten', () => {
    const bad = Array.from({ length: 12 }, (_, i) => ({ path: `plugins/${i}`, bytes: text(''), executable: false }));
    expect(pack({}, [...files, ...bad])).toThrow(refused('PATH_REFUSED'));
    expect(pack({}, [...files, ...bad])).toThrow(/"plugins\/9".*and 2 more/su);
  });

  test('I23: passes at each limit and is TOO_LARGE at one more', () => {
    const longest = Math.max(...files.map((file) => file.bytes.length));
    const at = { ...defaultLimits, filesMax: files.length, entryBytesMax: longest, archiveBytesMax: manifest.archive_bytes };
    expect(pack({}, files, at)).not.toThrow();
    for (const name of ['filesMax', 'entryBytesMax', 'archiveBytesMax'] as const) {
      expect(pack({}, files, { ...at, [name]: at[name] - 1 })).toThrow(refused('TOO_LARGE'));
    }
  });
});
