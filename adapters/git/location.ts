import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Failure } from '../../process/failure.ts';

/** Where a repository is. A `worktree` is a clone that somebody works in: its HEAD is not its default branch. */
export type Location =
  | { readonly kind: 'https'; readonly url: string; readonly hostname: string; readonly port: number }
  | { readonly kind: 'directory'; readonly url: string; readonly worktree: boolean };

/**
 * Text → a repository that may be read: an https URL without credentials, or a local directory.
 * @throws Failure input FIELD_INVALID, NOT_FOUND
 */
export async function locate(repository: string): Promise<Location> {
  if (/^https:\/\//iu.test(repository)) return locateUrl(repository);
  if (/^[a-z][a-z0-9+.-]*:(?!\\)/iu.test(repository) && !repository.startsWith('file://')) throw refused(repository);
  const path = resolve(repository.startsWith('file://') ? pathOfUrl(repository) : repository);
  if (!(await isDirectory(path))) {
    throw new Failure('input', 'NOT_FOUND', `There is no directory ${path}; a repository is a git directory or an https URL`);
  }
  return { kind: 'directory', url: path, worktree: await exists(join(path, '.git')) };
}

function locateUrl(repository: string): Location {
  if (!URL.canParse(repository)) throw refused(repository);
  const url = new URL(repository);
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new Failure('input', 'FIELD_INVALID', `repository: ${url.origin}${url.pathname} carries credentials, a query or a fragment; the URL is published with the release, so it may not`);
  }
  return { kind: 'https', url: url.href, hostname: url.hostname, port: Number(url.port === '' ? 443 : url.port) };
}

/** scp-like addresses and every other protocol: each would need credentials or run a program. */
function refused(repository: string): Failure {
  return new Failure('input', 'FIELD_INVALID', `repository: ${JSON.stringify(repository.slice(0, 200))} is neither an https URL nor a local directory`);
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

function pathOfUrl(repository: string): string {
  try {
    return fileURLToPath(repository);
  } catch {
    throw refused(repository); // another host, or a slash in disguise
  }
}
