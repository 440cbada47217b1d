import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import tar, { type Header } from 'tar-stream';
import { describe, expect, test } from 'vitest';

import { archiveLength, packArchive, readArchive, type ArchivedFile } from '../../catalogue/archive.ts';
import { compressArchive, expandArchive } from '../../catalogue/compression.ts';
import { defaultLimits } from '../../catalogue/limits.ts';
import { findPathFaults } from '../../catalogue/path-policy.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { parseItemId, parseRuntimeId } from '../../schemas/ids.ts';

/** Archives and paths as an attacker would make them, kept as data under test/security. Each file says how many it has. */
interface HostileArchive {
  readonly name: string;
  readonly entries: readonly (Partial<Omit<Header, 'mtime'>> & { readonly name: string; readonly text?: string; readonly mtime?: number })[];
  /** What the signed manifest promises: these files, each with the content `x`. */
  readonly signed: readonly string[];
  /** So many entries of nothing behind them. */
  readonly more?: number;
}
const corpus = <T>(name: string): T => JSON.parse(readFileSync(join(import.meta.dirname, '../security', `${name}.json`), 'utf8')) as T; // our own file
const { archives, count } = corpus<{ archives: HostileArchive[]; count: number }>('hostile-archives');
const hostile = corpus<{ paths: string[]; count: number }>('hostile-paths');

async function pack({ entries, more = 0 }: HostileArchive): Promise<Buffer> {
  const packed = tar.pack();
  for (const { text = '', mtime = 0, ...header } of entries) packed.entry({ mode: 0o644, uid: 0, gid: 0, uname: '', gname: '', ...header, mtime: new Date(mtime * 1_000) }, header.type === undefined || header.type === 'contiguous-file' ? text : '');
  for (let i = 0; i < more; i += 1) packed.entry({ name: `n${String(i)}`, mode: 0o644, mtime: new Date(0) }, '');
  packed.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of packed) chunks.push(chunk as Buffer); // tar-stream's own type says any
  return Buffer.concat(chunks);
}
const promised = (paths: readonly string[]): ArchivedFile[] => paths.map((path) => ({ path, bytes: 1, sha256: sha256('x'), executable: false }));

describe('hostile archives (B3, B5, C14)', () => {
  test('the corpora are whole', () => {
    expect([archives.length, hostile.paths.length]).toEqual([count, hostile.count]);
    expect([count, hostile.count]).toEqual([37, 78]);
  });

  test.each(archives)('$name: nothing of it is used', async (archive) => {
    const used: string[] = [];
    const bytes = await pack(archive);
    expect(() => { for (const { path, bytes: content } of readArchive(bytes, promised(archive.signed))) used.push(`${path}=${Buffer.from(content).toString('utf8')}`); })
      .toThrow(expect.objectContaining({ code: 'INTEGRITY_FAILED', kind: 'subject' }) as Error);
    // What was read before the lie is exactly what was signed; and the digest of the whole is checked before any of it.
    expect(used.every((one) => archive.signed.some((path) => one === `${path}=x`))).toBe(true);
  });

  test('and the honest one beside them is', () => {
    const honest = packArchive([{ path: 'a', bytes: Buffer.from('x'), executable: false }]);
    expect([...readArchive(honest, promised(['a']))].map(({ path }) => path)).toEqual(['a']);
  });

  test.each([1, 1_000])('a bomb that expands to %i0 times what was signed', async (times) => {
    const files = promised(['a']);
    const bytes = archiveLength(files);
    const bomb = await compressArchive(Buffer.alloc(bytes * 10 * times), { ...defaultLimits, ratioMax: 1e9 });
    await expect(expandArchive(bomb, bytes, { ...defaultLimits, ratioMax: 1e9 })).rejects.toMatchObject({ code: 'TOO_LARGE' });
    await expect(expandArchive(bomb, bytes * 10 * times, { ...defaultLimits, ratioMax: 10 })).rejects.toMatchObject({ code: 'TOO_LARGE' });
  });
});

describe('hostile paths (B3)', () => {
  test.each(hostile.paths.map((path) => [JSON.stringify(path), path] as const))('%s is refused to every kind, at publish and in a manifest', (_, path) => {
    for (const kind of ['template', 'plugin'] as const) {
      expect(findPathFaults({ kind, itemId: parseItemId('an-item'), runtimes: [parseRuntimeId('claude-code')] }, [path]).map(({ code }) => code)).toEqual(['PATH_REFUSED']);
    }
  });
});
