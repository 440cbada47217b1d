import { spawnSync } from 'node:child_process';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import tar from 'tar-stream';
import { describe, expect, test } from 'vitest';

import { archiveLength, packArchive, readArchive, type ArchivedFile, type SourceFile } from '../../catalogue/archive.ts';
import { compressArchive, expandArchive } from '../../catalogue/compression.ts';
import { defaultLimits } from '../../catalogue/limits.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { wholeEnvironment } from '../../process/config.ts';

const longName = `${'folder/'.repeat(20)}a-name-that-no-plain-header-holds.md`;
const files: SourceFile[] = [
  { path: 'system-prompt.md', bytes: Buffer.from('You are an SEO agent.\n'), executable: false },
  { path: 'skills/run.sh', bytes: Buffer.from('#!/bin/sh\n'), executable: true },
  { path: 'empty', bytes: Buffer.alloc(0), executable: false },
  { path: 'block', bytes: Buffer.alloc(512, 7), executable: false },
  { path: 'prüfung/日本語.md', bytes: Buffer.from('ü'), executable: false },
  { path: longName, bytes: Buffer.from('long'), executable: false },
];

const describeFiles = (from: readonly SourceFile[]): ArchivedFile[] => from
  .map(({ path, bytes, executable }) => ({ path, bytes: bytes.length, sha256: sha256(bytes), executable }))
  .toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));

const manifest = describeFiles(files);
const archive = packArchive(files);
const readAll = (bytes: Uint8Array, of: readonly ArchivedFile[] = manifest): string[] => [...readArchive(bytes, of)].map((file) => file.path);
const integrity = expect.objectContaining({ code: 'INTEGRITY_FAILED', kind: 'subject' }) as Error;

describe('the canonical archive', () => {
  test('is the same whatever order the files come in', () => {
    fc.assert(fc.property(fc.shuffledSubarray(files, { minLength: files.length }), (shuffled) => {
      expect(packArchive(shuffled).equals(archive)).toBe(true);
    }));
  });

  test('has the length that is known before it is packed', () => {
    expect(archiveLength(manifest)).toBe(archive.length);
  });

  test('never changes its bytes: releases of all times are compared by its digest', () => {
    expect(sha256(archive)).toBe('ee178cbd32fcab37c46b0d69e8e32bff1f7328f9da4d88fe35b70d06d440e245');
  });

  test('is read by another tar library as the same files', async () => {
    const read = new Map<string, { mode: number | undefined; text: string; mtime: number | undefined }>();
    for await (const entry of Readable.from([archive]).pipe(tar.extract())) {
      const chunks: Buffer[] = [];
      for await (const chunk of entry) chunks.push(chunk as Buffer);
      read.set(entry.header.name, { mode: entry.header.mode, mtime: entry.header.mtime?.getTime(), text: Buffer.concat(chunks).toString('utf8') });
    }
    expect([...read]).toEqual(manifest.map(({ path, executable }) => [
      path, { mode: executable ? 0o755 : 0o644, mtime: 0, text: Buffer.from(files.find((file) => file.path === path)?.bytes ?? []).toString('utf8') },
    ]));
  });

  test('is listed by the tar of this machine', () => {
    const listed = spawnSync('tar', ['-tf', '-'], { input: archive, encoding: 'utf8', env: { ...wholeEnvironment(), LC_ALL: 'C.UTF-8' } });
    expect(listed.stdout.trim().split('\n')).toEqual(manifest.map((file) => file.path));
  });
});

describe('reading an archive', () => {
  test('gives every file with its bytes, in the order of the manifest', () => {
    expect([...readArchive(archive, manifest)].map(({ path, executable, bytes }) => ({ path, executable, sha256: sha256(bytes), bytes: bytes.length })))
      .toEqual(manifest.map(({ path, executable, sha256: digest, bytes }) => ({ path, executable, sha256: digest, bytes })));
  });

  test('I7 B5: finds any single altered byte', () => {
    fc.assert(fc.property(fc.nat(archive.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
      const altered = Buffer.from(archive);
      altered[at] = (altered[at] ?? 0) ^ by;
      expect(() => readAll(altered)).toThrow(integrity);
    }), { numRuns: 400 });
  });

  test.each([
    ['that was cut anywhere', () => archive.subarray(0, archive.length - 1)],
    ['that was cut in a file', () => archive.subarray(0, 600)],
    ['without bytes', () => archive.subarray(0, 0)],
    ['with bytes after its end', () => Buffer.concat([archive, Buffer.alloc(512)])],
    ['with another archive after its end', () => Buffer.concat([archive, archive])],
    ['with one file more', () => packArchive([...files, { path: 'z', bytes: Buffer.from('z'), executable: false }])],
    ['with one file less', () => packArchive(files.slice(1))],
    ['with an executable that is none in the manifest', () => packArchive(files.map((file) => ({ ...file, executable: true })))],
    ['with a file under another name', () => packArchive(files.map((file) => (file.path === 'empty' ? { ...file, path: 'empti' } : file)))],
    ['with the content of two files swapped', () => packArchive(files.map((file) => (file.path === 'system-prompt.md' ? { ...file, bytes: Buffer.from('you are an seo agent.\n') } : file)))],
  ])('refuses one %s', (_, make) => {
    expect(() => readAll(make())).toThrow(integrity);
  });

  test('refuses a link, a device and a file with an owner, as other tar programs write them', async () => {
    for (const header of [
      { name: 'link', type: 'symlink', linkname: '/etc/passwd' }, { name: 'link', type: 'link', linkname: 'a' },
      { name: 'link', type: 'character-device' }, { name: 'link', type: 'directory' }, { name: 'link', uid: 1 }, { name: 'link', mode: 0o4755 },
    ] as const) {
      const pack = tar.pack();
      pack.entry({ mtime: new Date(0), mode: 0o644, ...header }, '');
      pack.finalize();
      const chunks: Buffer[] = [];
      for await (const chunk of pack) chunks.push(chunk as Buffer);
      const expected = [{ path: 'link', bytes: 0, sha256: sha256(''), executable: false }];
      expect(() => readAll(Buffer.concat(chunks), expected)).toThrow(integrity);
    }
  });
});

describe('compression', () => {
  const limits = { ...defaultLimits, packedBytesMax: 10_000, archiveBytesMax: 1_000_000, ratioMax: 50 };
  const mixed = (bytes: number): Buffer => Buffer.from(Array.from({ length: bytes }, (_, i) => (i * 2654435761) >>> 24));

  test('gives back the archive', async () => {
    expect((await expandArchive(await compressArchive(archive, defaultLimits), archive.length, defaultLimits)).equals(archive)).toBe(true);
  });

  test('I23: an archive at each limit passes, one byte more is TOO_LARGE', async () => {
    const packed = await compressArchive(archive, defaultLimits);
    const at = { ...defaultLimits, packedBytesMax: packed.length, archiveBytesMax: archive.length, ratioMax: archive.length / packed.length };
    await expect(compressArchive(archive, at)).resolves.toBeDefined();
    await expect(expandArchive(packed, archive.length, at)).resolves.toBeDefined();
    const tooLarge = { code: 'TOO_LARGE', kind: 'input' };
    await expect(compressArchive(archive, { ...at, packedBytesMax: packed.length - 1 })).rejects.toMatchObject(tooLarge);
    await expect(compressArchive(archive, { ...at, ratioMax: (archive.length - 1) / packed.length })).rejects.toMatchObject(tooLarge);
    const subject = { code: 'TOO_LARGE', kind: 'subject' };
    await expect(expandArchive(packed, archive.length, { ...at, packedBytesMax: packed.length - 1 })).rejects.toMatchObject(subject);
    await expect(expandArchive(packed, archive.length, { ...at, archiveBytesMax: archive.length - 1 })).rejects.toMatchObject(subject);
    await expect(expandArchive(packed, archive.length, { ...at, ratioMax: (archive.length - 1) / packed.length })).rejects.toMatchObject(subject);
  });

  test('never expands to more than the manifest says, and refuses what expands to less', async () => {
    const packed = await compressArchive(mixed(20_000), defaultLimits);
    await expect(expandArchive(packed, 19_999, limits)).rejects.toMatchObject({ code: 'TOO_LARGE' });
    await expect(expandArchive(packed, 20_001, limits)).rejects.toMatchObject({ code: 'INTEGRITY_FAILED' });
  });

  test('refuses what is not zstd', async () => {
    await expect(expandArchive(mixed(100), 200, limits)).rejects.toMatchObject({ code: 'INTEGRITY_FAILED' });
  });
});
