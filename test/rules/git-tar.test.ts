import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { afterAll, describe, expect, test } from 'vitest';

import { readGitTar } from '../../delivery/sources/git-tar.ts';
import { makeRepository } from '../support/git-folder.ts';

/** The reader of git hosts' archives: what git writes is read, everything else refuses the whole (B5, C14). */
const folder = mkdtempSync(join(tmpdir(), 'waybill-git-tar-'));
afterAll(() => { rmSync(folder, { recursive: true, force: true }); });

/** In pieces of some length, as a decompressor hands them out. */
async function* pieces(tar: Buffer, length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < tar.length; at += length) yield await Promise.resolve(tar.subarray(at, at + length));
}

async function read(tar: Buffer, sizes: Readonly<Record<string, number>>, options: { bytesMax?: number; piece?: number } = {}): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const { path, bytes } of readGitTar(pieces(tar, options.piece ?? 4096), (name) => (Object.hasOwn(sizes, name) ? sizes[name] : undefined), options.bytesMax ?? 2 ** 20)) {
    found[path] = bytes.toString();
  }
  return found;
}

type Entry = Parameters<ReturnType<typeof pack>['entry']>[0] & { readonly content?: string };

async function tarOf(...entries: Entry[]): Promise<Buffer> {
  const tar = pack();
  for (const { content = '', ...header } of entries) tar.entry(header, content);
  tar.finalize();
  return await buffer(tar);
}

describe('what git archives', () => {
  const contents = {
    'a.md': 'A', 'empty.txt': '', [`${'long-name-'.repeat(9)}x/${'deeper-'.repeat(10)}.md`]: 'prefix', [`${'é'.repeat(60)}.md`]: 'not ASCII', 'block.bin': 'b'.repeat(512), 'größe.md': 'G',
  };

  test.each([1, 7, 512, 513, 100_000])('is read whole, in pieces of %i bytes, links and folders passed over', async (piece) => {
    const git = makeRepository(join(folder, `r-${String(piece)}`));
    const commit = git.commit({ ...contents, 'run.sh': { executable: '#!/bin/sh\n' }, link: { link: '/etc/passwd' } });
    const tar = execFileSync('git', ['-C', git.path, 'archive', '--format=tar', '--prefix=top/', commit], { maxBuffer: 2 ** 24 });
    const sizes = Object.fromEntries(Object.entries(contents).map(([name, content]) => [`top/${name}`, Buffer.byteLength(content)]));
    expect(await read(tar, sizes, { piece })).toEqual(Object.fromEntries(Object.entries(contents).map(([name, content]) => [`top/${name}`, content])));
    expect(await read(tar, { 'top/link': 11 }, { piece })).toEqual({});
  });
});

describe('what git would never write', () => {
  const wanted = { 'top/a.md': 5 };
  const refused = expect.objectContaining({ kind: 'subject', code: 'INTEGRITY_FAILED' }) as Error;

  test.each<[string, Entry]>([
    ['a hard link', { name: 'top/a.md', type: 'link', linkname: '/etc/passwd' }], ['a device', { name: 'top/dev', type: 'block-device' }],
    ['a character device', { name: 'top/tty', type: 'character-device' }], ['a pipe', { name: 'top/fifo', type: 'fifo' }],
    ['a contiguous file', { name: 'top/a.md', type: 'contiguous-file', content: 'right' }], ['another length', { name: 'top/a.md', content: 'longer than signed' }],
  ])('%s refuses the whole', async (_what, entry) => {
    await expect(read(await tarOf({ name: 'top/b.md', content: 'x' }, entry), wanted)).rejects.toEqual(refused);
  });

  test.each(['size', 'path=top/a.md'])('an extended header that speaks of all files (%s) refuses the whole', async (record) => {
    const pax = record === 'size' ? { size: '5' } : { path: 'top/a.md' };
    await expect(read(await tarOf({ name: 'top/other', content: 'right', pax: record === 'size' ? pax : { ...pax, uname: 'x' } }), wanted)).rejects.toEqual(refused);
  });

  test('an extended header names one file, and no other after it', async () => {
    const tar = await tarOf({ name: 'top/one', content: 'right', pax: { path: 'top/a.md' } }, { name: 'top/two', content: 'other' });
    expect(await read(tar, { ...wanted, 'top/two': 5 })).toEqual({ 'top/a.md': 'right', 'top/two': 'other' });
  });

  test('a wrong sum, an old format, a number that is none, an end in the middle', async () => {
    const tar = await tarOf({ name: 'top/a.md', content: 'right' });
    const altered = (at: number, text: string): Buffer => {
      const copy = Buffer.from(tar);
      copy.write(text, at, 'latin1');
      return copy;
    };
    for (const bad of [altered(0, 'tap'), altered(148, '000000'), altered(257, 'nostar'), altered(124, 'zzzzzzz'), altered(124, '\u00ff\u00ff'), tar.subarray(0, 300), tar.subarray(0, 515), tar.subarray(0, 1024)]) {
      await expect(read(bad, wanted)).rejects.toEqual(refused);
    }
    expect(await read(tar, wanted)).toEqual({ 'top/a.md': 'right' });
  });

  test('names that climb, or are absolute, are names like any other: nothing is written by them', async () => {
    const tar = await tarOf({ name: '../../etc/cron.d/x', content: 'right' }, { name: '/top/a.md', content: 'right' }, { name: 'top/../top/a.md', content: 'right' });
    expect(await read(tar, wanted)).toEqual({});
  });

  test('I23: at the limit it is read, one byte less and it is TOO_LARGE', async () => {
    const tar = await tarOf({ name: 'top/a.md', content: 'right' });
    await expect(read(tar, wanted, { bytesMax: tar.length, piece: tar.length })).resolves.toEqual({ 'top/a.md': 'right' });
    await expect(read(tar, wanted, { bytesMax: tar.length - 1, piece: tar.length })).rejects.toMatchObject({ code: 'TOO_LARGE' });
  });

  test('a file twice is told twice, so that the caller can refuse it', async () => {
    const seen: string[] = [];
    for await (const { path } of readGitTar(pieces(await tarOf({ name: 'top/a.md', content: 'right' }, { name: 'top/a.md', content: 'wrong' }), 512), () => 5, 2 ** 20)) seen.push(path);
    expect(seen).toEqual(['top/a.md', 'top/a.md']);
  });
});
