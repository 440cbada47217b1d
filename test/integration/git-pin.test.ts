import { execFile } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test, vi } from 'vitest';

import { createGitRepository } from '../../adapters/git/git-repository.ts';
import { createHostResolver } from '../../adapters/guarded-fetch/resolve-host.ts';
import { byPathBytes, type SourceFile } from '../../catalogue/archive.ts';
import { defaultLimits, type ReleaseLimits } from '../../catalogue/limits.ts';
import { parseFolder, parsePinnedCommit, type SourceRepository } from '../../catalogue/publish/pin.ts';
import { makeRepository, openRepository, type GitFolder } from '../support/git-folder.ts';
import { startGitServer } from '../support/git-server.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const timeoutMs = 60_000;
const local = createGitRepository({ timeoutMs, resolveHost: createHostResolver([]) });

interface PinnedFiles {
  readonly repository: string;
  readonly defaultBranch: string;
  readonly files: readonly SourceFile[];
}

interface Reading {
  readonly path?: string;
  readonly only?: readonly string[];
  readonly limits?: Partial<ReleaseLimits>;
  readonly source?: SourceRepository;
}

async function read(repository: GitFolder | string, commit: string, { path = '', limits = {}, only, source = local }: Reading = {}): Promise<PinnedFiles> {
  await using opened = await source.open({ repository: typeof repository === 'string' ? repository : repository.path, commit: parsePinnedCommit(commit) });
  const files = await opened.readFolder(parseFolder(path), { ...defaultLimits, ...limits }, only);
  return { repository: opened.repository, defaultBranch: opened.defaultBranch, files };
}

const contents = ({ files }: PinnedFiles): Record<string, string> => Object.fromEntries(files.map(({ path, bytes }) => [path, Buffer.from(bytes).toString('utf8')]));

const refused = (code: string, message = /./u): object => ({ kind: 'input', code, message: expect.stringMatching(message) as string });

/** `first` and `merged` on main, `unmerged` on a branch of its own. */
function makeHistory(...initOptions: string[]): { git: GitFolder; first: string; merged: string; unmerged: string } {
  const git = makeRepository(join(temporaryFolder(), 'r'), ...initOptions);
  const first = git.commit({ 'a/file': 'one', 'b/file': 'two' });
  git.git('checkout', '--quiet', '-b', 'feature');
  const unmerged = git.commit({ 'a/file': 'not reviewed' });
  git.git('checkout', '--quiet', 'main');
  const merged = git.commit({ 'a/file': 'three' });
  return { git, first, merged, unmerged };
}

describe('a folder at a merged commit (B2)', () => {
  test('is read as it was committed: bytes, names and executable bits, with no filter, attribute or checkout in between', async () => {
    const git = makeRepository(join(temporaryFolder(), 'r'));
    git.commit({
      't/seo/system-prompt.md': 'You are…\r\n', 't/seo/run.sh': { executable: '#!/bin/sh' }, 't/seo/ü/日本.bin': Buffer.from([0, 255, 10, 13]),
      't/seo/empty': '', 'other/x': 'x',
    });
    // Added by itself: adding everything again would have git convert the line endings in the commit.
    writeFileSync(join(git.path, '.gitattributes'), '* export-ignore\n*.md text eol=lf ident\n');
    git.git('add', '.gitattributes');
    git.git('commit', '--quiet', '--message', 'attributes');
    const pin = git.git('rev-parse', 'HEAD');
    writeFileSync(join(git.path, 't/seo/system-prompt.md'), 'changed and not committed');
    const { defaultBranch, files } = await read(git, pin, { path: 't/seo' });
    expect(defaultBranch).toBe('main');
    expect(files.toSorted(byPathBytes).map(({ path, executable, bytes }) => [path, executable, Buffer.from(bytes).toString('hex')])).toEqual([
      ['empty', false, ''],
      ['run.sh', true, Buffer.from('#!/bin/sh').toString('hex')],
      ['system-prompt.md', false, Buffer.from('You are…\r\n').toString('hex')],
      ['ü/日本.bin', false, '00ff0a0d'],
    ]);
  });

  test('may be an older commit, the tip, or one of a branch that was merged', async () => {
    const { git, first, merged, unmerged } = makeHistory();
    expect(contents(await read(git, first, { path: 'a' }))).toEqual({ file: 'one' });
    expect(contents(await read(git, merged))).toEqual({ 'a/file': 'three', 'b/file': 'two' });
    await expect(read(git, unmerged)).rejects.toMatchObject(refused('PIN_UNMERGED', /not in the history of main/u));
    git.git('merge', '--quiet', '--strategy=ours', '-m', 'merge', 'feature');
    expect(contents(await read(git, unmerged, { path: 'a/' }))).toEqual({ file: 'not reviewed' });
  });

  test.each([[[]], [['--object-format=sha256']]])('is found in repositories of every kind: %j', async (initOptions) => {
    const { git, first, unmerged } = makeHistory(...initOptions);
    expect(contents(await read(git, first, { path: 'b' }))).toEqual({ file: 'two' });
    await expect(read(git, unmerged)).rejects.toMatchObject(refused('PIN_UNMERGED'));
    await expect(read(git, 'a'.repeat(first.length === 64 ? 40 : 64))).rejects.toMatchObject(refused('PIN_UNMERGED'));
  });

  test('is the same from a server that leaves out what was not asked for', async () => {
    const { git, first, unmerged } = makeHistory();
    git.git('config', 'uploadpack.allowFilter', 'true');
    expect(contents(await read(git, first, { path: 'a' }))).toEqual({ file: 'one' });
    await expect(read(git, unmerged)).rejects.toMatchObject(refused('PIN_UNMERGED'));
  });

  test('of some of its paths alone is what is below them, and what is beside them is not looked at', async () => {
    const git = makeRepository(join(temporaryFolder(), 'r'));
    const pin = git.commit({ 't/a/x': '1', 't/ab/x': '2', 't/b/y/z': '3', 't/c': '4', 't/link': { link: '/etc/passwd' } });
    expect(Object.keys(contents(await read(git, pin, { path: 't', only: ['a', 'b/y', 'c', 'nowhere'] }))).toSorted()).toEqual(['a/x', 'b/y/z', 'c']);
    await expect(read(git, pin, { path: 't', only: ['link'] })).rejects.toMatchObject(refused('PATH_REFUSED'));
  });

  test('needs nothing else of its repository: what is beside it may be missing there', async () => {
    const { git, first } = makeHistory();
    const big = git.git('rev-parse', `${git.commit({ 'big/file': 'not here' })}:big/file`);
    rmSync(join(git.path, '.git/objects', big.slice(0, 2), big.slice(2)));
    expect(contents(await read(git, first, { path: 'a' }))).toEqual({ file: 'one' });
    const tip = git.git('rev-parse', 'HEAD');
    expect(contents(await read(git, tip, { only: ['b'] }))).toEqual({ 'b/file': 'two' });
    await expect(read(git, tip, { path: 'big' })).rejects.toMatchObject({ kind: 'dependency', code: 'UPSTREAM' });
  });

  test('leaves nothing behind, refused or not', async () => {
    const { git, first, unmerged } = makeHistory();
    const folder = temporaryFolder();
    vi.stubEnv('TMPDIR', folder);
    try {
      await read(git, first);
      await read(git, unmerged).catch(() => undefined);
    } finally {
      vi.unstubAllEnvs();
    }
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('what is no merged commit', () => {
  test.each(['main', 'HEAD', 'v1.0.0', 'refs/heads/main', 'abcdef1', 'A'.repeat(40), 'a'.repeat(39), 'a'.repeat(41), `${'a'.repeat(40)}^`, '', '--all'])('%j is no pin at all', (commit) => {
    expect(() => parsePinnedCommit(commit)).toThrow(expect.objectContaining({ kind: 'input', code: 'PIN_UNMERGED' }) as Error);
  });

  test('the id of a tag, a tree or a blob is refused, and a commit that is in no branch, in no default branch or nowhere', async () => {
    const { git, merged, first } = makeHistory();
    git.git('tag', '--annotate', '--message', 'a tag', 'v1', first);
    const orphan = git.git('commit-tree', `${merged}^{tree}`, '-m', 'orphan');
    git.git('update-ref', 'refs/pull/1/head', git.git('commit-tree', `${merged}^{tree}`, '-p', merged, '-m', 'a pull request'));
    for (const id of [git.git('rev-parse', 'v1'), git.git('rev-parse', `${merged}^{tree}`), git.git('rev-parse', `${merged}:a/file`), orphan, git.git('rev-parse', 'refs/pull/1/head'), 'f'.repeat(40)]) {
      await expect(read(git, id)).rejects.toMatchObject(refused('PIN_UNMERGED'));
    }
  });

  test('nothing is merged in an empty repository', async () => {
    await expect(read(makeRepository(join(temporaryFolder(), 'r')), 'a'.repeat(40))).rejects.toMatchObject(refused('PIN_UNMERGED', /no default branch/u));
  });

  test('a branch that somebody works on is not the default one of a clone: that of its origin is', async () => {
    const { git, first } = makeHistory();
    const folder = join(temporaryFolder(), 'clone');
    git.git('clone', '--quiet', '.', folder);
    const clone = openRepository(folder);
    clone.git('checkout', '--quiet', '-b', 'work');
    const unpushed = clone.commit({ x: 'x' });
    await expect(read(clone, unpushed)).rejects.toMatchObject(refused('PIN_UNMERGED', /origin\/main/u));
    clone.git('branch', '--force', 'main', 'work');
    await expect(read(clone, unpushed)).rejects.toMatchObject(refused('PIN_UNMERGED', /origin\/main/u));
    expect(contents(await read(clone, first, { path: 'b' }))).toEqual({ file: 'two' });
  });

  test('without an origin it is main, whatever is checked out; a bare repository says by its HEAD', async () => {
    const { git, first, unmerged } = makeHistory();
    git.git('checkout', '--quiet', 'feature');
    await expect(read(git, unmerged)).rejects.toMatchObject(refused('PIN_UNMERGED', /history of main/u));
    git.git('checkout', '--quiet', '--detach', unmerged);
    await expect(read(git, unmerged)).rejects.toMatchObject(refused('PIN_UNMERGED', /history of main/u));
    const bare = join(temporaryFolder(), 'bare.git');
    git.git('clone', '--quiet', '--bare', '.', bare);
    openRepository(bare).git('symbolic-ref', 'HEAD', 'refs/heads/feature');
    expect(contents(await read(bare, unmerged, { path: 'a' }))).toEqual({ file: 'not reviewed' });
    await expect(read(bare, first)).resolves.toMatchObject({ defaultBranch: 'feature' });
  });

  test('replacements in the repository change nothing', async () => {
    const { git, first, unmerged } = makeHistory();
    git.git('replace', first, unmerged);
    expect(contents(await read(git, first, { path: 'a' }))).toEqual({ file: 'one' });
  });
});

describe('hostile trees', () => {
  const listing = (...entries: [mode: string, type: string, id: string, name: string | Buffer][]): Buffer =>
    Buffer.concat(entries.flatMap(([mode, type, id, name]) => [Buffer.from(`${mode} ${type} ${id}\t`), Buffer.from(name), Buffer.alloc(1)]));

  test('a symbolic link is refused wherever it is, and where it leads is not looked at', async () => {
    const git = makeRepository(join(temporaryFolder(), 'r'));
    const pin = git.commit({ 't/system-prompt.md': 'x', 't/skills/passwd': { link: '/etc/passwd' }, 'other/x': 'x', linked: { link: 't' } });
    await expect(read(git, pin, { path: 't' })).rejects.toMatchObject(refused('PATH_REFUSED', /"skills\/passwd".*symbolic link/u));
    await expect(read(git, pin, { path: 'linked' })).rejects.toMatchObject(refused('NOT_FOUND', /no folder/u));
    expect(contents(await read(git, pin, { path: 'other' }))).toEqual({ x: 'x' });
  });

  test('a submodule is refused, as an entry and as the folder itself: it leads to a commit that nobody merged', async () => {
    const { git, unmerged } = makeHistory();
    git.git('config', 'uploadpack.allowFilter', 'true');
    const pin = git.commitTree(listing(['160000', 'commit', unmerged, 'module'], ['100644', 'blob', git.blob('x'), 'x']));
    await expect(read(git, pin)).rejects.toMatchObject(refused('PATH_REFUSED', /submodule/u));
    await expect(read(git, pin, { path: 'module' })).rejects.toMatchObject(refused('NOT_FOUND', /no folder/u));
    await expect(read(git, pin, { path: 'module/a' })).rejects.toMatchObject(refused('NOT_FOUND', /no folder/u));
  });

  test('a name that is not UTF-8 is refused', async () => {
    const { git } = makeHistory();
    const pin = git.commitTree(listing(['100644', 'blob', git.blob('x'), Buffer.from([0x61, 0xff, 0x62])]));
    await expect(read(git, pin)).rejects.toMatchObject(refused('PATH_REFUSED', /not UTF-8/u));
  });

  test('names like .. come out as they are, for the path policy to refuse', async () => {
    const { git } = makeHistory();
    const x = git.blob('x');
    const inner = git.gitWith(listing(['100644', 'blob', x, 'config']), 'mktree', '-z');
    const pin = git.commitTree(listing(['040000', 'tree', inner, '..'], ['040000', 'tree', inner, '.git'], ['100644', 'blob', x, 'a\\b'], ['100644', 'blob', x, 'new\nline']));
    expect(Object.keys(contents(await read(git, pin))).toSorted()).toEqual(['../config', '.git/config', 'a\\b', 'new\nline']);
  });
});

describe('which folder', () => {
  test.each(['nowhere', 'a/nowhere', 'a/file', 'A'])('%j is not one', async (path) => {
    const { git, first } = makeHistory();
    await expect(read(git, first, { path })).rejects.toMatchObject(refused('NOT_FOUND', /no folder/u));
  });

  test.each(['..', 'a/../b', '/a', 'a//b', 'a/./b', 'a\\b', 'a\0b', 'a\nb'])('%j cannot be one', (path) => {
    expect(() => parseFolder(path)).toThrow(/path should be a folder inside the repository/u);
  });
});

describe('limits (C14, I23)', () => {
  test('hold at the limit and are TOO_LARGE at one more, before the contents are held', async () => {
    const git = makeRepository(join(temporaryFolder(), 'r'));
    const pin = git.commit({ a: 'x'.repeat(100), b: 'y'.repeat(50) });
    const at = { filesMax: 2, entryBytesMax: 100, archiveBytesMax: 150 };
    await expect(read(git, pin, { limits: at })).resolves.toBeDefined();
    for (const name of ['filesMax', 'entryBytesMax', 'archiveBytesMax'] as const) {
      await expect(read(git, pin, { limits: { ...at, [name]: at[name] - 1 } })).rejects.toMatchObject(refused('TOO_LARGE'));
    }
  });

  test('a repository that does not answer in time is given up', async () => {
    const { git, first } = makeHistory();
    const source = createGitRepository({ timeoutMs: 1, resolveHost: createHostResolver([]) });
    await expect(read(git, first, { source })).rejects.toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
  });
});

describe('which repository', () => {
  test.each([
    'http://git.example.com/r.git', 'ssh://git@git.example.com/r.git', 'git://git.example.com/r.git', 'git@git.example.com:r.git', 'ext::sh -c id',
    'https://user:secret@git.example.com/r.git', 'https://git.example.com/r.git?token=secret',
  ])('%j is not read, and no secret is repeated', async (repository) => {
    const error: unknown = await read(repository, 'a'.repeat(40)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: 'input', code: expect.stringMatching(/FIELD_INVALID|NOT_FOUND/u) as string });
    expect((error as Error).message).not.toContain('secret');
  });

  test('a folder that is none, or no repository, is named', async () => {
    await expect(read('/nowhere/at/all', 'a'.repeat(40))).rejects.toMatchObject(refused('NOT_FOUND', /nowhere/u));
    await expect(read(temporaryFolder(), 'a'.repeat(40))).rejects.toMatchObject(refused('NOT_FOUND'));
    await expect(read('--upload-pack=touch /tmp/x', 'a'.repeat(40))).rejects.toMatchObject(refused('NOT_FOUND'));
  });
});

describe('what a repository is called in what is signed', () => {
  test.each([
    ['https://git.example.com/acme/r.git', 'https://git.example.com/acme/r.git'],
    ['https://bob:hunter2@git.example.com/acme/r.git?token=hunter2#x', 'https://git.example.com/acme/r.git'],
    ['git@git.example.com:acme/r.git', 'checkout'],
    ['http://git.example.com/acme/r.git', 'checkout'],
    ['/srv/git/r.git', 'checkout'],
    [undefined, 'checkout'],
  ])('a clone of %s is %s', async (origin, name) => {
    const git = makeRepository(join(temporaryFolder(), 'checkout'));
    const pin = git.commit({ x: 'x' });
    if (origin !== undefined) git.git('remote', 'add', 'origin', origin);
    await expect(read(git, pin)).resolves.toMatchObject({ repository: name });
    await expect(read(join(git.path, '.git'), pin)).resolves.toMatchObject({ repository: name });
  });
});

describe('over https', () => {
  test('only what is needed is fetched, from the address that was judged (C15)', async () => {
    const { git, first, unmerged } = makeHistory();
    git.git('config', 'uploadpack.allowFilter', 'true');
    const server = await startGitServer(join(git.path, '..'), temporaryFolder());
    const resolveHost = createHostResolver([`git.example.test:${server.port}`], (_, answer) => { answer(null, [{ address: '127.0.0.1', family: 4 }]); });
    const source = createGitRepository({ timeoutMs, resolveHost, caFile: server.caFile });
    const found = await read(`${server.url}/r/.git`, first, { path: 'a', source });
    expect([contents(found), found.repository]).toEqual([{ file: 'one' }, `${server.url}/r/.git`]);
    server.requests.length = 0;
    await expect(read(`${server.url}/r/.git`, unmerged, { source })).rejects.toMatchObject(refused('PIN_UNMERGED'));
    // refs to choose, refs to fetch, one pack: nothing that names the pin
    expect(server.requests.filter((request) => request.startsWith('POST')).length).toBeLessThanOrEqual(3);
  });

  test('B2: a remote that hands out unmerged, orphaned and fork commits by their ids is not believed', async () => {
    const { git, unmerged } = makeHistory();
    for (const setting of ['allowFilter', 'allowAnySHA1InWant']) git.git('config', `uploadpack.${setting}`, 'true');
    const orphan = git.git('commit-tree', `${unmerged}^{tree}`, '-m', 'of no branch');
    const ofFork = git.git('commit-tree', `${unmerged}^{tree}`, '-p', 'main', '-m', 'of a fork');
    git.git('update-ref', 'refs/pull/1/head', ofFork);
    const server = await startGitServer(join(git.path, '..'), temporaryFolder());
    const resolveHost = createHostResolver([`git.example.test:${server.port}`], (_, answer) => { answer(null, [{ address: '127.0.0.1', family: 4 }]); });
    const source = createGitRepository({ timeoutMs, resolveHost, caFile: server.caFile });
    const taker = makeRepository(join(temporaryFolder(), 'taker'));
    for (const commit of [unmerged, orphan, ofFork]) {
      // Whoever asks for it gets it, so what is fetched by its id proves nothing.
      const trusting = ['-c', `http.curloptResolve=git.example.test:${server.port}:127.0.0.1`];
      await promisify(execFile)('git', ['-C', taker.path, ...trusting, 'fetch', '--quiet', `${server.url}/r/.git`, commit], { env: { ...process.env, GIT_SSL_CAINFO: server.caFile } });
      expect(taker.git('cat-file', '-t', commit)).toBe('commit');
      await expect(read(`${server.url}/r/.git`, commit, { source })).rejects.toMatchObject(refused('PIN_UNMERGED'));
    }
  });

  test('I13: an address that is private, or a name that leads there, is not dialled', async () => {
    const { git, first } = makeHistory();
    const server = await startGitServer(join(git.path, '..'), temporaryFolder());
    const resolveHost = createHostResolver([], (_, answer) => { answer(null, [{ address: '127.0.0.1', family: 4 }]); });
    const source = createGitRepository({ timeoutMs, resolveHost, caFile: server.caFile });
    for (const host of ['git.example.test', '127.0.0.1', '[::1]', '0x7f.1']) {
      await expect(read(`https://${host}:${server.port}/r/.git`, first, { source })).rejects.toMatchObject({ code: 'ADDRESS_REFUSED' });
    }
    expect(server.requests).toEqual([]);
  });

  test('I13: a redirect is not followed', async () => {
    const { git, first } = makeHistory();
    const server = await startGitServer(join(git.path, '..'), temporaryFolder());
    const target = await startGitServer(join(git.path, '..'), temporaryFolder());
    server.redirectTo(target.url);
    const resolveHost = createHostResolver([`git.example.test:${server.port}`], (_, answer) => { answer(null, [{ address: '127.0.0.1', family: 4 }]); });
    const source = createGitRepository({ timeoutMs, resolveHost, caFile: server.caFile });
    await expect(read(`${server.url}/r/.git`, first, { source })).rejects.toMatchObject({ code: 'ADDRESS_REFUSED' });
    expect(target.requests).toEqual([]);
  });
});

test('a machine without git says so', async () => {
  const { git, first } = makeHistory();
  vi.stubEnv('PATH', temporaryFolder());
  try {
    await expect(read(git, first)).rejects.toMatchObject(refused('CONFIG_INVALID', /git is not installed/u));
  } finally {
    vi.unstubAllEnvs();
  }
});
