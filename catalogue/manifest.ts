import { Failure } from '../process/failure.ts';
import {
  FieldError, parseCommitId, parseCount, parseItemId, parseRuntimeId, parseSellerId, parseSha256, parseVersion,
  type CommitId, type ItemId, type RuntimeId, type SellerId, type Sha256, type Version,
} from '../schemas/ids.ts';
import { archiveLength, byPathBytes, type ArchivedFile } from './archive.ts';
import { findPathFaults } from './path-policy.ts';
import type { Kind } from './target-path.ts';

/** One file of a release. `identity`: a boot probe of one of its runtimes reads it (C9). */
export interface ManifestFile extends ArchivedFile {
  readonly identity: boolean;
}

/** Where a release was taken from (B2). `path` is the folder in the repository, '' for its root. */
export interface ReleaseSource {
  readonly repository: string;
  readonly commit: CommitId;
  readonly path: string;
}

/** What a seller signs: the whole content of one release, file by file (B3). */
export interface ReleaseManifest {
  readonly format: 1;
  readonly item_id: ItemId;
  readonly kind: Kind;
  readonly seller_id: SellerId;
  readonly version: Version;
  /** Sorted. */
  readonly runtimes: readonly RuntimeId[];
  readonly source: ReleaseSource;
  /** Digest and length of the canonical archive before compression. */
  readonly archive_sha256: Sha256;
  readonly archive_bytes: number;
  /** In the order of the archive: by the bytes of their paths. */
  readonly files: readonly ManifestFile[];
}

/** The one text of a manifest: fields in this order, no blanks. It is stored as it was signed, never made again. */
export function serializeManifest(manifest: ReleaseManifest): string {
  const { item_id, kind, seller_id, version, source, archive_sha256, archive_bytes } = manifest;
  return JSON.stringify({
    format: manifest.format, item_id, kind, seller_id, version, runtimes: manifest.runtimes,
    source: { repository: source.repository, commit: source.commit, path: source.path },
    archive_sha256, archive_bytes,
    files: manifest.files.map(({ path, bytes, sha256, executable, identity }) => ({ path, bytes, sha256, executable, identity })),
  });
}

/**
 * Text → manifest. Strict: what is not exactly the text that `serializeManifest` makes is refused, so unknown, repeated
 * and reordered fields are too; every path passes the path policy, and the length of the archive is that of its files.
 * @throws Failure subject MANIFEST_INVALID
 */
export function parseManifest(text: string): ReleaseManifest {
  let manifest: ReleaseManifest;
  try {
    manifest = parseFields(parseObject(JSON.parse(text), 'manifest'));
  } catch (error) {
    if (error instanceof FieldError || error instanceof SyntaxError) throw invalid(error.message);
    throw error;
  }
  if (serializeManifest(manifest) !== text) throw invalid('it is not in its canonical form');
  const { files } = manifest;
  if (files.some((file, i) => i > 0 && byPathBytes(files[i - 1] ?? file, file) >= 0)) throw invalid('its files are not sorted');
  const owner = { kind: manifest.kind, itemId: manifest.item_id, runtimes: manifest.runtimes };
  const fault = findPathFaults(owner, files.map((file) => file.path))[0];
  if (fault !== undefined) throw invalid(`the path ${JSON.stringify(fault.path.slice(0, 300))}: ${fault.reason}`);
  if (archiveLength(files) !== manifest.archive_bytes) throw invalid('archive_bytes is not the length of an archive of its files');
  return manifest;
}

function invalid(reason: string): Failure {
  return new Failure('subject', 'MANIFEST_INVALID', `The manifest of the release is refused: ${reason}`);
}

type Fields = Readonly<Record<string, unknown>>;

function parseFields(fields: Fields): ReleaseManifest {
  const source = parseObject(fields['source'], 'source');
  if (fields['format'] !== 1) throw new FieldError('format', '1', fields['format']);
  return {
    format: 1,
    item_id: parseItemId(fields['item_id']),
    kind: parseKind(fields['kind']),
    seller_id: parseSellerId(fields['seller_id']),
    version: parseVersion(fields['version']),
    runtimes: parseRuntimes(fields['runtimes']),
    source: {
      repository: parseText(source['repository'], 'source.repository'),
      commit: parseCommitId(source['commit'], 'source.commit'),
      path: parseText(source['path'], 'source.path'),
    },
    archive_sha256: parseSha256(fields['archive_sha256'], 'archive_sha256'),
    archive_bytes: parseCount(fields['archive_bytes'], 'archive_bytes'),
    files: parseArray(fields['files'], 'files').map(parseFile),
  };
}

function parseFile(value: unknown): ManifestFile {
  const file = parseObject(value, 'files[]');
  const bytes = file['bytes'];
  return {
    path: parseText(file['path'], 'files[].path'),
    bytes: bytes === 0 ? 0 : parseCount(bytes, 'files[].bytes'),
    sha256: parseSha256(file['sha256'], 'files[].sha256'),
    executable: parseFlag(file['executable'], 'files[].executable'),
    identity: parseFlag(file['identity'], 'files[].identity'),
  };
}

function parseKind(value: unknown): Kind {
  if (value !== 'template' && value !== 'plugin') throw new FieldError('kind', 'template or plugin', value);
  return value;
}

/** Not looked up in the allowlist: a runtime that leaves it must not make unreadable what was signed for others too. */
function parseRuntimes(value: unknown): RuntimeId[] {
  const field = 'runtimes';
  const runtimes = parseArray(value, field).map((runtime) => parseRuntimeId(runtime, field));
  if (runtimes.length === 0) throw new FieldError(field, 'at least one runtime', value);
  if (runtimes.some((runtime, i) => i > 0 && runtime <= (runtimes[i - 1] ?? ''))) {
    throw new FieldError(field, 'a sorted list without repeats', value);
  }
  return runtimes;
}

function parseObject(value: unknown, field: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new FieldError(field, 'an object', value);
  return value as Fields; // an object that is no array has string keys
}

function parseArray(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new FieldError(field, 'a list', value);
  return value;
}

function parseText(value: unknown, field: string): string {
  if (typeof value !== 'string') throw new FieldError(field, 'a text', value);
  return value;
}

function parseFlag(value: unknown, field: string): boolean {
  if (typeof value !== 'boolean') throw new FieldError(field, 'true or false', value);
  return value;
}
