import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Pin, SourceRepository } from '../../catalogue/publish/pin.ts';
import { Failure } from '../../process/failure.ts';
import { fetchDefaultBranch, isInHistory } from './default-branch.ts';
import { locate, type Location } from './location.ts';
import { publicName } from './public-name.ts';
import { readFolder } from './read-folder.ts';
import { GitError, type GitOptions } from './run-git.ts';

export interface GitRepositoryOptions {
  /** Deadline of finding a commit in its repository, and of reading each folder of it. */
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
    async open(pin) {
      const location = await locate(pin.repository);
      const home = await mkdtemp(join(tmpdir(), 'waybill-git-'));
      const remove = async (): Promise<void> => { await rm(home, { recursive: true, force: true }); };
      try {
        const config = await configFor(location, options);
        const git = (): GitOptions => ({ home, config, signal: AbortSignal.timeout(options.timeoutMs) });
        const defaultBranch = await findMerged(git(), location, pin);
        return {
          repository: await publicName(git(), location), defaultBranch,
          readFolder: async (path, limits, only) => {
            try {
              return await readFolder(git(), { commit: pin.commit, path }, limits, only);
            } catch (error) {
              throw asSourceFailure(pin, error);
            }
          },
          [Symbol.asyncDispose]: remove,
        };
      } catch (error) {
        await remove();
        throw asSourceFailure(pin, error);
      }
    },
  };
}

async function configFor(location: Location, { resolveHost, caFile }: GitRepositoryOptions): Promise<string[]> {
  if (location.kind === 'directory') return [];
  const { hostname, port } = location;
  const pinned = `http.curloptResolve=${hostname}:${port}:${await resolveHost(hostname, port)}`;
  return [pinned, ...(caFile === undefined ? [] : [`http.sslCAInfo=${caFile}`])];
}

/** The name of the default branch, after the commit was found in its history. */
async function findMerged(git: GitOptions, location: Location, pin: Pick<Pin, 'repository' | 'commit'>): Promise<string> {
  const defaultBranch = await fetchDefaultBranch(git, location);
  // Looked for in what was fetched. The pin itself is not asked for before: a server hands out any commit by its id.
  if (await isInHistory(git, pin.commit)) return defaultBranch;
  throw new Failure('input', 'PIN_UNMERGED',
    `The commit ${pin.commit} is not in the history of ${defaultBranch}, the default branch of ${pin.repository}: merge it first, or publish the commit that it was merged as`);
}

/** What git said, as what it means for a publisher. */
function asSourceFailure({ repository }: Pick<Pin, 'repository'>, error: unknown): unknown {
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
