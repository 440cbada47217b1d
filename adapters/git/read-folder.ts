import type { SourceFile } from '../../catalogue/archive.ts';
import type { ReleaseLimits } from '../../catalogue/limits.ts';
import type { Pin } from '../../catalogue/publish/pin.ts';
import { Failure } from '../../process/failure.ts';
import { repositoryFolder } from './default-branch.ts';
import { readBlobs } from './read-blobs.ts';
import { runGit, type GitOptions } from './run-git.ts';

const inRepository = ['--git-dir', repositoryFolder];

interface TreeEntry {
  readonly mode: string;
  readonly oid: string;
  readonly path: string;
}

/** A folder at a commit. */
type Folder = Omit<Pin, 'repository'>;

/** '' is above everything. */
const isBelow = (folder: string, path: string): boolean => folder === '' || path === folder || path.startsWith(`${folder}/`);

/**
 * Every regular file below a folder of a commit, from git objects; with `only`, of what is below these paths of it. Links, submodules and names that are not UTF-8 are
 * refused, not skipped; how a path may look otherwise is the path policy's question.
 * @throws Failure input NOT_FOUND, PATH_REFUSED, TOO_LARGE; GitError
 */
export async function readFolder(git: GitOptions, pin: Folder, limits: ReleaseLimits, only?: readonly string[]): Promise<SourceFile[]> {
  const tree = await findTree(git, pin);
  const entries = (await listTree(git, ['-r', tree])).filter(({ path }) => only === undefined || only.some((wanted) => isBelow(wanted, path)));
  for (const entry of entries) checkMode(entry, pin);
  if (entries.length > limits.filesMax) {
    throw new Failure('input', 'TOO_LARGE', `The artifact cannot be published: it has ${entries.length} files, more than ${limits.filesMax}`);
  }
  await fetchMissing(git, tree, new Set(entries.map(({ oid }) => oid)));
  const blobs = readBlobs(git, inRepository, entries, limits);
  const files: SourceFile[] = [];
  for await (const { entry, bytes } of blobs) files.push({ path: entry.path, bytes, executable: entry.mode === '100755' });
  return files;
}

/**
 * The tree of the folder, found name by name. git's own `commit:path` would go through a submodule into a commit that was
 * never merged.
 */
async function findTree(git: GitOptions, { commit, path }: Folder): Promise<string> {
  let tree = `${commit}^{tree}`;
  for (const name of path === '' ? [] : path.split('/')) {
    const found = (await listTree(git, [tree])).find((entry) => entry.path === name);
    if (found?.mode !== '040000') {
      throw new Failure('input', 'NOT_FOUND', `The commit ${commit} has no folder ${path}: ${JSON.stringify(name)} is ${found === undefined ? 'not in it' : 'no folder'}`);
    }
    tree = found.oid;
  }
  return (await runGit(git, [...inRepository, 'rev-parse', '--verify', '--quiet', tree])).toString('latin1').trim();
}

async function listTree(git: GitOptions, what: readonly string[]): Promise<TreeEntry[]> {
  const output = await runGit(git, [...inRepository, 'ls-tree', '-z', '--full-tree', ...what]);
  const entries: TreeEntry[] = [];
  for (let start = 0; start < output.length;) {
    const end = output.indexOf(0, start);
    entries.push(parseEntry(output.subarray(start, end)));
    start = end + 1;
  }
  return entries;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `<mode> <type> <oid>\t<path>`, the path as raw bytes. */
function parseEntry(line: Uint8Array): TreeEntry {
  const tab = line.indexOf(0x09);
  const [mode = '', , oid = ''] = Buffer.from(line.subarray(0, tab)).toString('latin1').split(' ');
  const name = line.subarray(tab + 1);
  try {
    return { mode, oid, path: utf8.decode(name) };
  } catch {
    throw new Failure('input', 'PATH_REFUSED', `The name ${JSON.stringify(Buffer.from(name).toString('latin1'))} (its bytes read as Latin-1) is not UTF-8`);
  }
}

/** What may not be delivered, by its mode in the tree. */
const kinds: Readonly<Record<string, string>> = { '120000': 'a symbolic link', '160000': 'a submodule' };
/** 100664 is what very old versions of git wrote for 100644. */
const regular = new Set(['100644', '100755', '100664']);

function checkMode({ mode, path }: TreeEntry, { commit }: Folder): void {
  if (regular.has(mode)) return;
  throw new Failure('input', 'PATH_REFUSED', `${JSON.stringify(path)} at ${commit} is ${kinds[mode] ?? `of the mode ${mode}`}; only regular files are delivered`);
}

/** In one request what the first fetch left out; git by itself would ask for one blob at a time. */
async function fetchMissing(git: GitOptions, tree: string, wanted: ReadonlySet<string>): Promise<void> {
  const listed = await runGit(git, [...inRepository, 'rev-list', '--objects', '--no-object-names', '--missing=print', tree]);
  const missing = listed.toString('latin1').split('\n').filter((line) => line.startsWith('?')).map((line) => line.slice(1)).filter((oid) => wanted.has(oid));
  if (missing.length === 0) return;
  await runGit(
    { ...git, config: [...(git.config ?? []), 'fetch.negotiationAlgorithm=noop'] },
    [...inRepository, 'fetch', '--quiet', '--no-tags', '--no-write-fetch-head', '--filter=blob:none', '--stdin', 'origin'],
    `${missing.join('\n')}\n`,
  );
}
