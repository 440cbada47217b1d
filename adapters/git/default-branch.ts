import { createInterface } from 'node:readline';

import { Failure } from '../../process/failure.ts';
import type { CommitId } from '../../schemas/ids.ts';
import type { Location } from './location.ts';
import { runGit, startGit, type GitOptions } from './run-git.ts';

/** Where the fetched default branch stands in our own repository. */
const fetched = 'refs/waybill/default';
export const repositoryFolder = 'repository.git';
const inRepository = ['--git-dir', repositoryFolder];

/**
 * Fetches the default branch of a repository, commits only where the other side can leave the rest out.
 * @returns the name of the branch
 * @throws Failure input PIN_UNMERGED when there is none; GitError
 */
export async function fetchDefaultBranch(git: GitOptions, location: Location): Promise<string> {
  const refs = await listRefs(git, location);
  const ref = chooseDefault(refs, location);
  const oid = ref === undefined ? undefined : refs.ids.get(ref);
  if (ref === undefined || oid === undefined) {
    throw new Failure('input', 'PIN_UNMERGED', `The repository ${location.url} has no default branch with a commit, so nothing in it is merged`);
  }
  const format = oid.length === 64 ? 'sha256' : 'sha1';
  await runGit(git, ['init', '--quiet', '--bare', '--template=', `--object-format=${format}`, repositoryFolder]);
  await runGit(git, [...inRepository, 'config', 'remote.origin.url', location.url]);
  // A repository on this machine leaves out what was not asked for too, whatever it says of itself.
  if (location.kind === 'directory') await runGit(git, [...inRepository, 'config', 'remote.origin.uploadpack', 'git -c uploadpack.allowFilter=true upload-pack']);
  await runGit(git, [...inRepository, 'fetch', '--quiet', '--no-tags', '--no-write-fetch-head', '--filter=tree:0', 'origin', `+${ref}:${fetched}`]);
  return ref.replace(/^refs\/(?:heads|remotes)\//u, '');
}

/** Whether a commit is the tip of the fetched branch or one of its ancestors. Compares ids; asks the other side nothing. */
export async function isInHistory(git: GitOptions, commit: CommitId): Promise<boolean> {
  const list = startGit(git, [...inRepository, 'rev-list', fetched]);
  list.end();
  let found = false;
  for await (const line of createInterface({ input: list.stdout })) found ||= line === commit;
  await list.ended;
  return found;
}

interface Refs {
  readonly ids: ReadonlyMap<string, string>;
  /** Symbolic ref → what it names. */
  readonly targets: ReadonlyMap<string, string>;
}

async function listRefs(git: GitOptions, location: Location): Promise<Refs> {
  const wanted = location.kind === 'directory' && location.worktree
    ? ['HEAD', 'refs/remotes/origin/HEAD', 'refs/remotes/origin/*', 'refs/heads/main', 'refs/heads/master']
    : [];
  // Every head is listed otherwise: what HEAD names is only found with its id.
  const output = await runGit(git, ['ls-remote', '--quiet', '--symref', '--', location.url, ...wanted]);
  const ids = new Map<string, string>();
  const targets = new Map<string, string>();
  for (const line of output.toString('utf8').split('\n')) {
    const [value = '', name = ''] = line.split('\t');
    if (value.startsWith('ref: ')) targets.set(name, value.slice('ref: '.length));
    else if (name !== '') ids.set(name, value);
  }
  return { ids, targets };
}

/**
 * On a server, what HEAD names. In a clone that somebody works in, HEAD is whatever branch they are on, so there the
 * branch counts that its origin has for default; without an origin `main` or `master`, and HEAD only where neither is.
 */
function chooseDefault({ ids, targets }: Refs, location: Location): string | undefined {
  const head = targets.get('HEAD');
  if (location.kind !== 'directory' || !location.worktree) return head;
  return targets.get('refs/remotes/origin/HEAD') ?? ['refs/heads/main', 'refs/heads/master'].find((ref) => ids.has(ref)) ?? head;
}
