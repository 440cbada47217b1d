import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { wholeEnvironment } from '../../process/config.ts';

/** What a file of a test repository holds; a link points somewhere. */
export type Content = string | Buffer | { readonly executable: string } | { readonly link: string };

/** A real git repository in a folder, with a few words for what tests do to one. */
export interface GitFolder {
  readonly path: string;
  /** Runs git in the folder. @returns its output without the last line feed */
  git(...args: string[]): string;
  /** As git, with bytes on its input. */
  gitWith(input: string | Buffer, ...args: string[]): string;
  /** Writes files and commits everything. @returns the commit id */
  commit(files?: Readonly<Record<string, Content>>, message?: string): string;
  /** Commits a tree as `git mktree` takes it, without a working copy, onto HEAD. @returns the commit id */
  commitTree(listing: string | Buffer): string;
  /** Writes a blob. @returns its id */
  blob(content: string | Buffer): string;
}

const identity = { GIT_AUTHOR_NAME: 'Test', GIT_AUTHOR_EMAIL: 'test@example.com', GIT_COMMITTER_NAME: 'Test', GIT_COMMITTER_EMAIL: 'test@example.com' };

/** Makes a repository with the branch `main` and no commit. */
export function makeRepository(path: string, ...initOptions: string[]): GitFolder {
  mkdirSync(path, { recursive: true });
  const repository = openRepository(path);
  repository.git('init', '--quiet', '--initial-branch=main', ...initOptions, '.');
  return repository;
}

export function openRepository(path: string): GitFolder {
  const env = { ...wholeEnvironment(), ...identity, GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', HOME: path };
  const gitWith = (input: string | Buffer, ...args: string[]): string =>
    execFileSync('git', args, { cwd: path, env, input, stdio: ['pipe', 'pipe', 'pipe'] }).toString('utf8').replace(/\n$/u, '');
  const git = (...args: string[]): string => gitWith('', ...args);
  const moveHead = (tree: string, message: string): string => {
    const parent = git('rev-parse', 'HEAD');
    const commit = git('commit-tree', tree, '-p', parent, '-m', message);
    git('update-ref', 'HEAD', commit);
    return commit;
  };
  return {
    path, git, gitWith,
    commit(files = {}, message = 'a change') {
      for (const [name, content] of Object.entries(files)) writeContent(join(path, name), content);
      git('add', '--all');
      git('commit', '--quiet', '--allow-empty', '--message', message);
      return git('rev-parse', 'HEAD');
    },
    commitTree: (listing) => moveHead(gitWith(listing, 'mktree', '-z'), 'a crafted tree'),
    blob: (content) => gitWith(content, 'hash-object', '-w', '--stdin'),
  };
}

function writeContent(path: string, content: Content): void {
  mkdirSync(dirname(path), { recursive: true });
  if (typeof content === 'string' || Buffer.isBuffer(content)) writeFileSync(path, content);
  else if ('link' in content) symlinkSync(content.link, path);
  else {
    writeFileSync(path, content.executable);
    chmodSync(path, 0o755);
  }
}
