import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Pin, PinnedFiles, SourceRepository } from '../../catalogue/publish/pin.ts';
import type { ReleaseLimits } from '../../catalogue/limits.ts';
import { Failure } from '../../process/failure.ts';
import { fetchDefaultBranch, isInHistory } from './default-branch.ts';
import { locate, type Location } from './location.ts';
import { readFolder } from './read-folder.ts';
import { GitError, type GitOptions } from './run-git.ts';

export interface GitRepositoryOptions {
  /** Deadline of reading one release out of a repository. */
  readonly timeoutMs: number;
  /**
   * The address to dial for a host, after it was judged (C15); git dials this one and asks no resolver again.
   * @throws Failure subject ADDRESS_REFUSED
   */
  readonly resolveHost: (hostname: string, port: number) => Promise<string>;
  /** File with the certificates of the authorities to trust, PEM; undefined: those of the machine. */
  readonly caFile?: string | undefined;
}

/**
 * Real git, with a configuration of its own: objects are fetched into a bare repository in a temporary folder, which is
 * removed afterwards; nothing is checked out, and no hook, filter, attribute or submodule is followed (B2).
 */
export function createGitRepository(options: GitRepositoryOptions): SourceRepository {
  return {
    async readPinned(pin, limits) {
      const location = await locate(pin.repository);
      const home = await mkdtemp(join(tmpdir(), 'waybill-git-'));
      try {
        const git = await optionsFor(home, location, options);
        return await readPinned(git, location, pin, limits);
      } catch (error) {
        throw asSourceFailure(pin, error);
      } finally {
        await rm(home, { recursive: true, force: true });
      }
    },
  };
}

async function optionsFor(home: string, location: Location, { timeoutMs, resolveHost, caFile }: GitRepositoryOptions): Promise<GitOptions> {
  const signal = AbortSignal.timeout(timeoutMs);
  if (location.kind === 'directory') return { home, signal };
  const { hostname, port } = location;
  const pinned = `http.curloptResolve=${hostname}:${port}:${await resolveHost(hostname, port)}`;
  return { home, signal, config: [pinned, ...(caFile === undefined ? [] : [`http.sslCAInfo=${caFile}`])] };
}

async function readPinned(git: GitOptions, location: Location, pin: Pin, limits: ReleaseLimits): Promise<PinnedFiles> {
  const defaultBranch = await fetchDefaultBranch(git, location);
  // Looked for in what was fetched. The pin itself is not asked for before: a server hands out any commit by its id.
  if (!(await isInHistory(git, pin.commit))) {
    throw new Failure('input', 'PIN_UNMERGED',
      `The commit ${pin.commit} is not in the history of ${defaultBranch}, the default branch of ${pin.repository}: merge it first, or publish the commit that it was merged as`);
  }
  return { defaultBranch, files: await readFolder(git, pin, limits) };
}

/** What git said, as what it means for a publisher. */
function asSourceFailure({ repository }: Pin, error: unknown): unknown {
  if (!(error instanceof GitError)) return error;
  const text = error.stderr;
  const fail = (kind: 'input' | 'dependency', code: 'NOT_FOUND' | 'ADDRESS_REFUSED' | 'UNAVAILABLE' | 'UPSTREAM', reason: string): Failure =>
    new Failure(kind, code, `The repository ${repository} ${reason}: ${text.trim().slice(0, 500)}`, { cause: error });
  if (/redirect|returned error: 30\d/iu.test(text)) return fail('input', 'ADDRESS_REFUSED', 'redirects to another address');
  if (/not appear to be a git repository|not found|could not read Username|Authentication failed|dubious ownership/iu.test(text)) {
    return fail('input', 'NOT_FOUND', 'cannot be read; one that asks for credentials is published from a local clone');
  }
  if (/Could not resolve|Failed to connect|timed out|Couldn't connect|Operation too slow/iu.test(text)) return fail('dependency', 'UNAVAILABLE', 'cannot be reached');
  return fail('dependency', 'UPSTREAM', 'could not be read');
}
