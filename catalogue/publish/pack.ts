import { Failure } from '../../process/failure.ts';
import type { ItemId, RuntimeId, SellerId, Version } from '../../schemas/ids.ts';
import { archiveLength, byPathBytes, packArchive, type SourceFile } from '../archive.ts';
import type { ReleaseLimits } from '../limits.ts';
import type { ManifestFile, ReleaseManifest, ReleaseSource } from '../manifest.ts';
import { findPathFaults } from '../path-policy.ts';
import { identityNamesOfAll } from '../release.ts';
import { sha256 } from '../sha256.ts';
import type { Kind } from '../target-path.ts';

/** What a release is, beside its files. */
export interface ReleaseIdentity {
  readonly itemId: ItemId;
  readonly kind: Kind;
  readonly sellerId: SellerId;
  readonly version: Version;
  /** Sorted. */
  readonly runtimes: readonly RuntimeId[];
  readonly source: ReleaseSource;
}

export interface PackedRelease {
  readonly manifest: ReleaseManifest;
  readonly archive: Buffer;
}

/** So many faults are named in one message; a release with more is mended in rounds. */
const faultsShown = 10;

/**
 * Files → canonical archive and its manifest, after the path policy and the limits (B3, C14).
 * @throws Failure input PATH_REFUSED, TOO_LARGE, MANIFEST_INVALID (no file, or a template without an identity file)
 */
export function packRelease(release: ReleaseIdentity, files: readonly SourceFile[], limits: ReleaseLimits): PackedRelease {
  checkPaths(release, files);
  checkSizes(files, limits);
  const identity = new Set(release.kind === 'template' ? identityNamesOfAll(release.runtimes) : []);
  checkComplete(release, files, identity);
  const described = files.toSorted(byPathBytes).map((file): ManifestFile => ({
    path: file.path, bytes: file.bytes.length, sha256: sha256(file.bytes), executable: file.executable, identity: identity.has(file.path),
  }));
  const archiveBytes = archiveLength(described);
  if (archiveBytes > limits.archiveBytesMax) throw tooLarge(`its archive has ${archiveBytes} bytes, more than ${limits.archiveBytesMax}`);
  const archive = packArchive(files);
  const { itemId, kind, sellerId, version, runtimes, source } = release;
  const manifest: ReleaseManifest = {
    format: 1, item_id: itemId, kind, seller_id: sellerId, version, runtimes, source,
    archive_sha256: sha256(archive), archive_bytes: archive.length, files: described,
  };
  return { manifest, archive };
}

function checkPaths({ kind, itemId, runtimes }: ReleaseIdentity, files: readonly SourceFile[]): void {
  const faults = findPathFaults({ kind, itemId, runtimes }, files.map((file) => file.path));
  const [first] = faults;
  if (first === undefined) return;
  const lines = faults.slice(0, faultsShown).map(({ path, reason }) => `  ${JSON.stringify(path.slice(0, 300))}: ${reason}`);
  if (faults.length > faultsShown) lines.push(`  and ${faults.length - faultsShown} more`);
  throw new Failure('input', first.code, `The artifact has paths that may not be delivered:\n${lines.join('\n')}`);
}

function checkSizes(files: readonly SourceFile[], limits: ReleaseLimits): void {
  if (files.length > limits.filesMax) throw tooLarge(`it has ${files.length} files, more than ${limits.filesMax}`);
  const large = files.find((file) => file.bytes.length > limits.entryBytesMax);
  if (large !== undefined) throw tooLarge(`${JSON.stringify(large.path)} has ${large.bytes.length} bytes, more than ${limits.entryBytesMax}`);
}

function checkComplete(release: ReleaseIdentity, files: readonly SourceFile[], identity: ReadonlySet<string>): void {
  const { kind, source, runtimes } = release;
  const where = `${source.path === '' ? 'the root' : source.path} at ${source.commit}`;
  if (files.length === 0) throw new Failure('input', 'MANIFEST_INVALID', `The ${kind} has no file: ${where} is empty`);
  const missing = [...identity].filter((name) => !files.some((file) => file.path === name));
  if (missing.length === 0) return;
  throw new Failure('input', 'MANIFEST_INVALID',
    `The template lacks ${missing.join(' and ')}, which a boot of ${runtimes.join(', ')} reads: add it to ${where}`);
}

function tooLarge(reason: string): Failure {
  return new Failure('input', 'TOO_LARGE', `The artifact cannot be published: ${reason}`);
}
