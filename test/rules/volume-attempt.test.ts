import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { Failure } from '../../process/failure.ts';
import { attemptFolders, deliver, digest, file, files, keptFiles, newWorkspace, userWrites, visible, volumesFolder, type Workspace } from '../support/volume-delivery.ts';

const volumes = volumesFolder();
let workspace: Workspace;
let volume: string;

beforeEach(() => {
  volume = fs.mkdtempSync(path.join(volumes, 'v-'));
  workspace = newWorkspace(volume);
});
afterAll(() => fs.rmSync(volumes, { recursive: true }));

const at = (name: string): string => path.join(volume, name);
const first = files({ 'configs/system-prompt.md': 'be kind', 'configs/skills/a/run.sh*': 'echo a', 'configs/config.yaml': 'k: 1' });

describe('a first delivery', () => {
  test('writes the files with fixed modes, whatever the umask, and the probe finds them (C9, I7)', () => {
    const umask = process.umask(0o077);
    const delivery = deliver(workspace, first);
    process.umask(umask);
    expect(visible(volume)).toEqual({
      'configs/': '755', 'configs/config.yaml': '644 k: 1', 'configs/skills/': '755', 'configs/skills/a/': '755',
      'configs/skills/a/run.sh': '755 echo a', 'configs/system-prompt.md': '644 be kind',
    });
    expect(delivery?.probed.map((probed) => probed.state)).toEqual(['ok', 'ok', 'ok']);
    expect(delivery?.applied.directoriesMade).toEqual(['configs', 'configs/skills', 'configs/skills/a']);
  });

  test('leaves no staged plaintext and no folder of the attempt, and its own folders are private (I9)', () => {
    deliver(workspace, first);
    expect(attemptFolders(volume)).toEqual([]);
    for (const name of ['.waybill', '.waybill/attempts', '.waybill/kept']) expect(fs.statSync(at(name)).mode & 0o777, name).toBe(0o700);
  });

  test('gives two paths with the same content files of their own', () => {
    deliver(workspace, files({ a: 'same', b: 'same' }));
    expect(fs.statSync(at('a')).ino).not.toBe(fs.statSync(at('b')).ino);
    expect(fs.statSync(at('a')).nlink).toBe(1);
  });

  test.runIf(process.geteuid?.() === 0)('gives what it delivers to the owner of the volume, and its own folders to nobody else', () => {
    fs.chownSync(volume, 12345, 12346);
    deliver(workspace, first);
    for (const name of ['configs', 'configs/skills/a', 'configs/skills/a/run.sh']) {
      expect([fs.statSync(at(name)).uid, fs.statSync(at(name)).gid], name).toEqual([12345, 12346]);
    }
    expect(fs.statSync(at('.waybill')).uid).toBe(0);
  });
});

describe('a second delivery', () => {
  test('of the same set fetches nothing and touches no file (C8)', () => {
    deliver(workspace, first);
    const before = first.map((one) => fs.statSync(at(one.path)));
    const again = deliver(workspace, first);
    expect(again?.fetched).toEqual([]);
    expect(again?.applied.unchanged).toHaveLength(3);
    const after = first.map((one) => fs.statSync(at(one.path)));
    expect(after.map(({ ino, ctimeMs }) => [ino, ctimeMs])).toEqual(before.map(({ ino, ctimeMs }) => [ino, ctimeMs]));
  });

  test('replaces what changed, removes what is not wanted, and removes the folders it made (C8)', () => {
    deliver(workspace, first);
    userWrites(volume, 'configs/MEMORY.md', 'mine');
    const second = deliver(workspace, files({ 'configs/system-prompt.md': 'be brief', 'configs/config.yaml': 'k: 1' }));
    expect(second?.fetched).toEqual(['configs/system-prompt.md']);
    expect(second?.applied).toMatchObject({
      replaced: ['configs/system-prompt.md'], removed: ['configs/skills/a/run.sh'], unchanged: ['configs/config.yaml'],
      directoriesRemoved: ['configs/skills/a', 'configs/skills'], directories: ['configs'],
    });
    expect(visible(volume)).toEqual({ 'configs/': '755', 'configs/MEMORY.md': '644 mine', 'configs/config.yaml': '644 k: 1', 'configs/system-prompt.md': '644 be brief' });
  });

  test('that wants nothing leaves a volume as it was before the first', () => {
    deliver(workspace, first);
    deliver(workspace, []);
    expect(visible(volume)).toEqual({});
  });

  test('keeps the folder of a file that the user put beside ours, and never removes a folder of the user', () => {
    fs.mkdirSync(at('configs'));
    deliver(workspace, first);
    userWrites(volume, 'configs/skills/a/notes.md', 'mine');
    const moved: string[] = [];
    const gone = deliver(workspace, [], {
      onStep: (name, detail) => {
        if (name === 'apply:aside-directory') moved.push(detail);
      },
    });
    expect(gone?.applied.directories).toEqual(['configs/skills', 'configs/skills/a']);
    expect(moved, 'a folder with content is not even moved for a moment').toEqual([]);
    expect(Object.keys(visible(volume))).toEqual(['configs/', 'configs/skills/', 'configs/skills/a/', 'configs/skills/a/notes.md']);
    fs.rmSync(at('configs/skills/a/notes.md'));
    deliver(workspace, []);
    expect(Object.keys(visible(volume))).toEqual(['configs/']);
  });

  test('writes again what the user deleted: a deletion counts as absent (C8)', () => {
    deliver(workspace, first);
    fs.rmSync(at('configs'), { recursive: true });
    const again = deliver(workspace, first);
    expect(again?.applied.written).toHaveLength(3);
    expect(again?.probed.every((probed) => probed.state === 'ok')).toBe(true);
  });

  test('gives a file another mode when the release says so', () => {
    deliver(workspace, [file('tool', 'x')]);
    const again = deliver(workspace, [file('tool*', 'x')]);
    expect(again?.applied.replaced).toEqual(['tool']);
    expect(visible(volume)).toEqual({ tool: '755 x' });
  });

  test('turns a file into a folder and a folder into a file', () => {
    deliver(workspace, files({ skills: 'one file', 'notes/x': 'x' }));
    const turned = deliver(workspace, files({ 'skills/a': 'a', notes: 'one file' }));
    expect(turned?.applied.kept).toEqual([]);
    expect(visible(volume)).toEqual({ notes: '644 one file', 'skills/': '755', 'skills/a': '644 a' });
    deliver(workspace, []);
    expect(visible(volume)).toEqual({});
  });
});

describe('a permit that runs out', () => {
  test('before the first path changes nothing; the next attempt delivers', () => {
    deliver(workspace, first);
    const before = visible(volume);
    const next = files({ 'configs/system-prompt.md': 'be brief', 'configs/config.yaml': 'k: 2' });
    expect(() => deliver(workspace, next, { notAfter: 0n })).toThrow(expect.objectContaining({ code: 'GRANT_EXPIRED' }) as Error);
    expect(visible(volume)).toEqual(before);
    expect(deliver(workspace, next)?.probed.map((probed) => probed.state)).toEqual(['ok', 'ok']);
  });

  test('between two paths stops there; every file is whole, and the next attempt goes on (I8)', () => {
    deliver(workspace, first);
    const next = files({ 'configs/a.md': 'a', 'configs/b.md': 'b', 'configs/config.yaml': 'k: 2' });
    const now = process.hrtime.bigint();
    // The clock of the permit stands still but for the file work itself: it runs out once the first path is linked.
    const onStep = (step: string): void => { if (step === 'apply:link') while (process.hrtime.bigint() <= now + 50_000_000n); };
    expect(() => deliver(workspace, next, { notAfter: now + 50_000_000n, onStep })).toThrow(expect.objectContaining({ code: 'GRANT_EXPIRED' }) as Error);
    expect(visible(volume)).toMatchObject({ 'configs/a.md': '644 a', 'configs/config.yaml': '644 k: 1' });
    expect(visible(volume)).not.toHaveProperty('configs/b.md');
    deliver(workspace, next);
    expect(visible(volume)).toEqual({ 'configs/': '755', 'configs/a.md': '644 a', 'configs/b.md': '644 b', 'configs/config.yaml': '644 k: 2' });
  });
});

describe('files of the user', () => {
  test('an edited file stays, is reported, and is then the user\'s (C8)', () => {
    deliver(workspace, first);
    fs.writeFileSync(at('configs/config.yaml'), 'k: mine');
    const second = deliver(workspace, files({ 'configs/config.yaml': 'k: 2' }));
    expect(second?.applied.kept).toEqual([{ path: 'configs/config.yaml', reason: 'edited', movedTo: null }]);
    expect(second?.probed).toEqual([{ path: 'configs/config.yaml', state: 'different', sha256: null }]);
    expect(second?.fetched).toEqual([]);
    expect(fs.readFileSync(at('configs/config.yaml'), 'utf8')).toBe('k: mine');
  });

  test('an edited file that is no longer wanted stays', () => {
    deliver(workspace, first);
    fs.writeFileSync(at('configs/config.yaml'), 'k: mine');
    const gone = deliver(workspace, []);
    expect(gone?.applied.kept).toEqual([{ path: 'configs/config.yaml', reason: 'edited', movedTo: null }]);
    expect(visible(volume)).toEqual({ 'configs/': '755', 'configs/config.yaml': '644 k: mine' });
  });

  test('a file with a known digest counts as ours: it is adopted (C8)', () => {
    userWrites(volume, 'configs/config.yaml', 'baseline');
    const known = new Map([['configs/config.yaml', [digest('baseline')]]]);
    const delivery = deliver(workspace, first, { known });
    expect(delivery?.applied.replaced).toEqual(['configs/config.yaml']);
    expect(delivery?.applied.kept).toEqual([]);
  });

  test('the wanted file, put there by somebody else, counts as delivered', () => {
    userWrites(volume, 'configs/config.yaml', 'k: 1');
    expect(deliver(workspace, first)?.applied.unchanged).toEqual(['configs/config.yaml']);
  });

  test.each([
    ['a symbolic link', 'not-regular', (name: string) => fs.symlinkSync('/etc/hostname', name)],
    ['a link to nothing', 'not-regular', (name: string) => fs.symlinkSync('nowhere', name)],
    ['a folder', 'directory', (name: string) => fs.mkdirSync(name)],
    ['a file too large to be ours', 'edited', (name: string) => fs.writeFileSync(name, Buffer.alloc((1 << 20) + 1))],
  ])('%s at the path of a file is kept: %s', (_, reason, make) => {
    make(at('a'));
    const before = visible(volume);
    const delivery = deliver(workspace, files({ a: 'wanted' }));
    expect(delivery?.applied.kept).toEqual([{ path: 'a', reason, movedTo: null }]);
    expect(visible(volume)).toEqual(before);
    expect(delivery?.probed[0]?.state).toBe(reason === 'edited' ? 'different' : 'not-regular');
  });

  test.each([
    ['a symbolic link to a folder', (name: string) => {
      fs.mkdirSync(at('elsewhere'));
      fs.symlinkSync('elsewhere', name);
    }],
    ['a file', (name: string) => fs.writeFileSync(name, 'mine')],
  ])('%s in place of a folder makes conflicts of the paths below, and nothing is written through it', (_, make) => {
    make(at('configs'));
    const before = visible(volume);
    const delivery = deliver(workspace, first);
    expect(delivery?.applied.kept.map((kept) => kept.reason)).toEqual(['parent', 'parent', 'parent']);
    expect(delivery?.probed.map((probed) => probed.state)).toEqual(['not-regular', 'not-regular', 'not-regular']);
    expect(delivery?.fetched).toEqual([]);
    expect(visible(volume)).toEqual(before);
  });

  test('a file of ours below a folder that became a link is not removed through the link', () => {
    deliver(workspace, first);
    fs.renameSync(at('configs'), at('moved'));
    fs.symlinkSync('moved', at('configs'));
    deliver(workspace, []);
    expect(fs.readFileSync(at('moved/config.yaml'), 'utf8')).toBe('k: 1');
  });
});

describe('immediate removal (C13)', () => {
  test('unlinks our copies at once, moves altered ones to kept/, and leaves the rest alone', () => {
    deliver(workspace, files({ 'plugins/bad/a': 'evil', 'plugins/bad/b': 'evil too', 'configs/c': 'good' }));
    fs.writeFileSync(at('plugins/bad/b'), 'evil, altered');
    const good = files({ 'configs/c': 'good' });
    const delivery = deliver(workspace, good, {
      denied: ['plugins/bad/a', 'plugins/bad/b'],
      onStep: (name) => {
        if (name === 'settle:judge-aside') throw new Error('nothing of a denied path waits in aside/ for settle');
      },
    });
    expect(delivery?.applied).toMatchObject({ removed: ['plugins/bad/a', 'plugins/bad/b'], unchanged: ['configs/c'] });
    const [kept] = delivery?.applied.kept ?? [];
    expect(kept).toMatchObject({ path: 'plugins/bad/b', reason: 'edited' });
    expect(visible(volume)).toEqual({ 'configs/': '755', 'configs/c': '644 good' });
    expect(Object.values(keptFiles(volume))).toEqual(['644 evil, altered']);
    expect(fs.readFileSync(at(kept?.movedTo ?? ''), 'utf8')).toBe('evil, altered');
  });

  test('also when another release is wanted at the path', () => {
    deliver(workspace, files({ a: 'evil', b: 'evil' }));
    fs.writeFileSync(at('b'), 'altered');
    deliver(workspace, files({ a: 'good', b: 'good' }), { denied: ['a', 'b'] });
    expect(visible(volume)).toEqual({ a: '644 good', b: '644 good' });
    expect(Object.values(keptFiles(volume))).toEqual(['644 altered']);
  });

  test('an altered copy is not put back by the fence of the next attempt either', () => {
    deliver(workspace, files({ a: 'evil' }));
    fs.writeFileSync(at('a'), 'altered');
    const stop = new Error('killed');
    expect(() => deliver(workspace, [], {
      denied: ['a'],
      onStep: (name) => {
        if (name === 'apply:judge-aside') throw stop;
      },
    })).toThrow(stop);
    const next = deliver(workspace, []);
    expect(visible(volume)).toEqual({});
    expect(next?.fenced.kept).toMatchObject([{ path: 'a', reason: 'edited' }]);
    expect(Object.values(keptFiles(volume))).toEqual(['644 altered']);
  });
});

test('copies that may no longer be held are gone when the attempt is settled, others wait for a late writer (I9)', () => {
  deliver(workspace, files({ a: 'held', b: 'revoked' }));
  deliver(workspace, files({ a: 'new' }), { mayHold: [digest('held')] });
  expect(attemptFolders(volume)).toEqual(['2/', '2/aside/', expect.stringMatching(/^2\/aside\/f0\.\d+$/u)]);
  deliver(workspace, files({ a: 'new' }));
  expect(attemptFolders(volume)).toEqual([]);
});

test('what a late writer did to a file that was replaced is rescued by the next fence (I8)', () => {
  deliver(workspace, files({ a: 'one', b: 'one' }));
  const handles = ['a', 'b'].map((name) => fs.openSync(at(name), 'r+'));
  deliver(workspace, files({ a: 'two' }), { mayHold: [digest('one')] });
  for (const handle of handles) {
    fs.writeSync(handle, 'LATE', 0);
    fs.closeSync(handle);
  }
  const next = deliver(workspace, files({ a: 'two' }));
  expect(next?.fenced.returned).toEqual(['b']);
  expect(next?.fenced.kept).toMatchObject([{ path: 'a', reason: 'edited' }]);
  expect(visible(volume)).toEqual({ a: '644 two', b: '644 LATE' });
  expect(Object.values(keptFiles(volume))).toEqual(['644 LATE']);
});

test('a set that is not the record\'s is our bug, not a delivery', () => {
  expect(() => deliver(workspace, files({ '.waybill/x': 'x' }))).toThrow(Failure);
  expect(() => deliver(workspace, files({ a: 'file', 'a/b': 'below it' }))).toThrow(/lies below "a"/u);
});
