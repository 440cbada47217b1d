import { createGunzip } from 'node:zlib';

import type { UnpackedFile } from '../../catalogue/archive.ts';
import type { ReleaseLimits } from '../../catalogue/limits.ts';
import type { ReleaseManifest } from '../../catalogue/manifest.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { checkConfig, configFile } from '../../catalogue/template-config.ts';
import { Failure } from '../../process/failure.ts';
import type { ArtifactFetcher } from './brokered.ts';
import { readGitTar } from './git-tar.ts';

/** Where the archives of a git host lie: the host that answers itself, for redirects are never followed (C15). */
export interface ArchivePattern {
  /** Host of the repository, as in `https://github.com/…`. */
  readonly host: string;
  /** URL with `{repository}` (owner/name) and `{commit}`. */
  readonly url: string;
}

/** A release as a source needs it: its pin, and what its seller signed. */
export interface PinnedRelease {
  readonly itemId: string;
  readonly version: string;
  readonly repository: string;
  readonly commit: string;
  readonly path: string;
  readonly signed: ReleaseManifest;
}

export interface GitSourceOptions {
  readonly fetcher: ArtifactFetcher;
  readonly archives: readonly ArchivePattern[];
  /** Largest archive that is fetched, in bytes: a whole repository, of which the release is a folder. */
  readonly bytesMax: number;
  readonly limits: ReleaseLimits;
}

/**
 * Fetches the archive of the pinned commit and takes the files of the signed manifest out of it: every one of them there,
 * once, with its signed digest, or nothing at all (B5). What else is in the repository is not looked at.
 * @throws Failure subject ADDRESS_REFUSED (no pattern, or not allowed), UPSTREAM (refused), INTEGRITY_FAILED, TOO_LARGE, GATE_FIELD; as ArtifactFetcher
 */
export async function fetchFromGit(release: PinnedRelease, headers: Readonly<Record<string, string>>, options: GitSourceOptions): Promise<UnpackedFile[]> {
  const { status, body } = await options.fetcher.get({ url: archiveUrl(release, options.archives), headers, bytesMax: options.bytesMax });
  if (status !== 200) {
    throw new Failure('subject', 'UPSTREAM', `The git host refuses the archive of ${nameOf(release)}: ${status}`, {
      cure: `Look whether ${release.repository} still has the commit; meanwhile \`waybill release source ${nameOf(release)} brokered\` fetches it from the store.`,
    });
  }
  return await filesOfArchive(body, release, options.limits);
}

/** @throws Failure subject ADDRESS_REFUSED */
export function archiveUrl({ repository, commit }: Pick<PinnedRelease, 'repository' | 'commit'>, archives: readonly ArchivePattern[]): string {
  const url = URL.canParse(repository) ? new URL(repository) : undefined;
  const pattern = archives.find(({ host }) => host === url?.host);
  if (url === undefined || pattern === undefined) {
    throw new Failure('subject', 'ADDRESS_REFUSED', `The fetch is refused: no archives of ${url?.host ?? repository} are known`, { cure: 'Add the host to WAYBILL_GIT_ARCHIVES if it is meant to be reached.' });
  }
  return pattern.url.replaceAll('{repository}', url.pathname.slice(1).replace(/(?:\.git)?\/?$/u, '')).replaceAll('{commit}', commit);
}

/** tar.gz → the files of the signed manifest, in its order. @throws Failure subject */
async function filesOfArchive(archive: Buffer, release: PinnedRelease, limits: ReleaseLimits): Promise<UnpackedFile[]> {
  const { signed, path } = release;
  const signedFiles = new Map(signed.files.map((file) => [file.path, file]));
  // Below the one top folder that git hosts put everything in, then below the folder of the pin.
  const signedPath = (name: string): string | undefined => {
    const inside = name.slice(name.indexOf('/') + 1);
    return path === '' ? inside : inside.startsWith(`${path}/`) ? inside.slice(path.length + 1) : undefined;
  };
  const found = new Map<string, Buffer>();
  for await (const { path: name, bytes } of readGitTar(expanded(archive), (each) => signedFiles.get(signedPath(each) ?? '')?.bytes, limits.archiveBytesMax)) {
    const file = signedPath(name) ?? '';
    if (found.has(file)) throw integrity(release, `${JSON.stringify(file)} twice`);
    found.set(file, bytes);
  }
  const files = signed.files.map((file): UnpackedFile => {
    const bytes = found.get(file.path);
    if (bytes === undefined) throw integrity(release, `no ${JSON.stringify(file.path)}`);
    if (sha256(bytes) !== file.sha256) throw integrity(release, `a ${JSON.stringify(file.path)} with another digest than the signed one`);
    return { path: file.path, executable: file.executable, sha256: file.sha256, bytes };
  });
  const config = signed.kind === 'template' ? found.get(configFile) : undefined;
  if (config !== undefined) checkConfig(config, signed.runtimes);
  return files;
}

async function* expanded(archive: Buffer): AsyncGenerator<Buffer, void, undefined> {
  const gunzip = createGunzip();
  gunzip.end(archive);
  try {
    for await (const chunk of gunzip) yield chunk as Buffer; // no encoding is set
  } catch (error) {
    throw new Failure('subject', 'INTEGRITY_FAILED', 'The archive of the git host is not gzip', { cause: error });
  }
}

const nameOf = ({ itemId, version }: PinnedRelease): string => `${itemId}@${version}`;

function integrity(release: PinnedRelease, what: string): Failure {
  return new Failure('subject', 'INTEGRITY_FAILED', `The archive of the git host has ${what}, for ${nameOf(release)}. Nothing of it is used.`);
}
