import { Failure } from '../process/failure.ts';
import type { Sha256 } from '../schemas/ids.ts';
import { sha256 } from './sha256.ts';
import { padding, tarEnd, tarHeader } from './tar.ts';

/** One file to pack. The path has passed the path policy. */
export interface SourceFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly executable: boolean;
}

/** One file as the signed manifest has it. */
export interface ArchivedFile {
  readonly path: string;
  /** Length in bytes. */
  readonly bytes: number;
  readonly sha256: Sha256;
  readonly executable: boolean;
}

/** One verified file out of an archive; `bytes` is a view into it. */
export interface UnpackedFile {
  readonly path: string;
  readonly executable: boolean;
  readonly sha256: Sha256;
  readonly bytes: Uint8Array;
}

/** Order of files in archives and manifests: by the bytes of their paths in UTF-8, whatever the locale. */
export function byPathBytes(a: { readonly path: string }, b: { readonly path: string }): number {
  return Buffer.compare(Buffer.from(a.path), Buffer.from(b.path));
}

/** The canonical archive (B3): the same files give the same bytes, in whatever order they come. Folders are implied. */
export function packArchive(files: readonly SourceFile[]): Buffer {
  const parts = files.toSorted(byPathBytes).flatMap((file) => [
    tarHeader(file.path, file.bytes.length, file.executable), file.bytes, padding(file.bytes.length),
  ]);
  return Buffer.concat([...parts, tarEnd]);
}

/** Length of the archive that files of these lengths make; known before anything is packed. */
export function archiveLength(files: readonly Pick<ArchivedFile, 'path' | 'bytes' | 'executable'>[]): number {
  return files.reduce(
    (sum, file) => sum + tarHeader(file.path, file.bytes, file.executable).length + file.bytes + padding(file.bytes).length,
    tarEnd.length,
  );
}

/**
 * The content of one file of an archive whose digest was checked already, without reading the others; undefined when the
 * manifest has no such file. A view into the archive.
 */
export function fileInArchive(archive: Uint8Array, files: readonly ArchivedFile[], path: string): Uint8Array | undefined {
  const at = files.findIndex((file) => file.path === path);
  const file = files[at];
  if (file === undefined) return undefined;
  const start = archiveLength(files.slice(0, at)) - tarEnd.length + tarHeader(path, file.bytes, file.executable).length;
  return archive.subarray(start, start + file.bytes);
}

/**
 * The files of an archive, in the order of its manifest. The archive has to be, byte for byte, the one that the manifest
 * describes: nothing is parsed, so there is nothing to disagree about (duplicate names, links, owners, trailing bytes).
 * Take all of them before any becomes visible: the end is checked last.
 * @throws Failure subject INTEGRITY_FAILED
 */
export function* readArchive(archive: Uint8Array, files: readonly ArchivedFile[]): Generator<UnpackedFile, void, undefined> {
  let offset = 0;
  const take = (length: number, what: string): Uint8Array => {
    if (offset + length > archive.length) throw integrity(`the archive ends within ${what}`);
    offset += length;
    return archive.subarray(offset - length, offset);
  };
  const expect = (expected: Uint8Array, what: string): void => {
    if (Buffer.compare(take(expected.length, what), expected) !== 0) throw integrity(`${what} is not what the manifest says`);
  };
  for (const file of files) {
    const shown = JSON.stringify(file.path);
    expect(tarHeader(file.path, file.bytes, file.executable), `the header of ${shown}`);
    const bytes = take(file.bytes, shown);
    if (sha256(bytes) !== file.sha256) throw integrity(`the content of ${shown} has not the digest of the manifest`);
    expect(padding(file.bytes), `the padding of ${shown}`);
    yield { path: file.path, executable: file.executable, sha256: file.sha256, bytes };
  }
  expect(tarEnd, 'the end of the archive');
  if (offset !== archive.length) throw integrity(`the archive goes on for ${archive.length - offset} bytes after its last file`);
}

function integrity(reason: string): Failure {
  return new Failure('subject', 'INTEGRITY_FAILED', `The archive is not the signed one: ${reason}. Nothing of it is used.`);
}

