import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { planApply } from '../../delivery/volume/plan-apply.ts';
import { volumeSteps } from '../../delivery/volume/directory.ts';
import type { AsideRecord } from '../../delivery/volume/volume-work.ts';
import type { Sha256 } from '../../schemas/ids.ts';
import { attemptFolders, deliver, digest, file, files, keptFiles, newWorkspace, operations, userWrites, visible, volumesFolder } from '../support/volume-delivery.ts';

const volumes = volumesFolder();
let volume: string;

beforeEach(() => {
  volume = fs.mkdtempSync(path.join(volumes, 'v-'));
});
afterAll(() => fs.rmSync(volumes, { recursive: true }));

const at = (name: string): string => path.join(volume, name);
const work = operations();
const entry = (name: string): AsideRecord['entries'][number] => ({ path: name, ours: [digest('ours')], denied: false });

describe('inspect', () => {
  test('makes the folders of waybill and finds no attempt on a new volume', () => {
    expect(work.inspect({ volume })).toEqual({ highestAttempt: 0, attempts: [], isGone: false });
    expect(fs.readdirSync(at('.waybill'))).toEqual(['attempts', 'kept']);
    expect(fs.readdirSync(at('.waybill/attempts'))).toEqual([]);
  });

  test('names the attempts that have folders, and nothing else', () => {
    work.inspect({ volume });
    for (const name of ['7', '12', '007', '1e3', 'x', '0', '-1', '99999999999999999999']) fs.mkdirSync(at(`.waybill/attempts/${name}`));
    expect(work.inspect({ volume })).toEqual({ highestAttempt: 12, attempts: [7, 12], isGone: false });
  });

  test.each([
    ['does not exist, nor the folder around it', 'VOLUME_UNWRITABLE', () => at('nowhere/volume')],
    ['is a link that leads nowhere', 'VOLUME_UNWRITABLE', () => {
      fs.symlinkSync('/nowhere', at('dangling'));
      return at('dangling');
    }],
    ['is a file', 'VOLUME_UNWRITABLE', () => {
      fs.writeFileSync(at('file'), '');
      return at('file');
    }],
    ['is a link', 'VOLUME_UNWRITABLE', () => {
      fs.symlinkSync(volume, at('link'));
      return at('link');
    }],
    ['has a file where the folder of waybill has to be', 'VOLUME_UNWRITABLE', () => {
      fs.writeFileSync(at('.waybill'), '');
      return volume;
    }],
    ['has a link where the folder of waybill has to be', 'VOLUME_UNWRITABLE', () => {
      fs.symlinkSync('/tmp', at('.waybill'));
      return volume;
    }],
    ['lets no folder be made in it (procfs)', 'VOLUME_UNWRITABLE', () => '/proc'],
  ])('refuses a volume that %s with %s', (_, code, make) => {
    const other = make();
    expect(() => work.inspect({ volume: other })).toThrow(expect.objectContaining({ kind: 'subject', code }));
  });

  test('tells a volume that is gone from one whose mount is missing', () => {
    expect(work.inspect({ volume: at('nowhere') })).toEqual({ highestAttempt: 0, attempts: [], isGone: true });
  });

  test('closes the folders of waybill to others when it finds them open', () => {
    for (const name of ['.waybill', '.waybill/attempts', '.waybill/kept']) {
      fs.mkdirSync(at(name));
      fs.chmodSync(at(name), 0o777);
    }
    work.inspect({ volume });
    for (const name of ['.waybill', '.waybill/attempts', '.waybill/kept']) expect(fs.statSync(at(name)).mode & 0o777).toBe(0o700);
  });

  test.each(['link', 'link-existing', 'removed'] as const)('calls a volume unsupported whose %s call does what it should not', (fault) => {
    const broken = operations((name) => {
      if (name !== 'inspect:test') return;
      const test = at('.waybill/attempts/test-1');
      if (fault === 'link') fs.mkdirSync(path.join(test, 'second'));
      if (fault === 'link-existing') fs.writeFileSync(path.join(test, 'file'), '');
      if (fault === 'removed') {
        fs.mkdirSync(path.join(test, 'removed'));
        fs.writeFileSync(path.join(test, 'removed/x'), '');
      }
    });
    expect(() => broken.inspect({ volume })).toThrow(expect.objectContaining({ kind: 'subject', code: 'UNSUPPORTED_VOLUME' }));
  });

  test('does not call a volume unsupported because the fence of a frozen attempt cleared its test away', () => {
    let cleared = false;
    const disturbed = operations((name) => {
      if (name === 'inspect:test' && !cleared) {
        cleared = true;
        fs.rmdirSync(at('.waybill/attempts/test-1'));
        fs.mkdirSync(at('.waybill/attempts/2'));
        expect(operations().fence({ volume, attempt: 3, asides: [] }).kind).toBe('fenced');
      }
    });
    expect(disturbed.inspect({ volume })).toMatchObject({ attempts: [] });
  });
});

describe('fence', () => {
  test('makes our own empty folder', () => {
    expect(work.fence({ volume, attempt: 4, asides: [] })).toEqual({ kind: 'fenced', adopted: [], returned: [], kept: [] });
    expect(attemptFolders(volume)).toEqual(['4/', '4/aside/', '4/tree/']);
  });

  test('is refused where a later attempt has its folder, and changes nothing (I24)', () => {
    work.fence({ volume, attempt: 5, asides: [] });
    fs.mkdirSync(at('.waybill/attempts/3'));
    expect(work.fence({ volume, attempt: 4, asides: [] })).toEqual({ kind: 'superseded' });
    expect(attemptFolders(volume)).toEqual(['3/', '5/', '5/aside/', '5/tree/']);
  });

  test('takes its own folder away again when a later attempt came meanwhile (I24)', () => {
    const late = operations((name) => {
      if (name === 'fence:check') fs.mkdirSync(at('.waybill/attempts/5'));
    });
    expect(late.fence({ volume, attempt: 4, asides: [] })).toEqual({ kind: 'superseded' });
    expect(attemptFolders(volume)).toEqual(['5/']);
  });

  test('deletes what is ours in aside/, puts the user\'s back, and moves to kept/ what has no place (I8)', () => {
    work.fence({ volume, attempt: 1, asides: [] });
    const aside = (name: string, content: string): void => fs.writeFileSync(at(`.waybill/attempts/1/aside/${name}`), content);
    aside('f0.1', 'ours');
    aside('f1.2', 'edited, path free');
    aside('f2.3', 'edited, path taken');
    aside('f3.4', 'edited, folder gone');
    aside('f9.5', 'no such entry');
    aside('strange', 'no name of ours');
    fs.writeFileSync(Buffer.from(at('.waybill/attempts/1/aside/bad-\xff-name'), 'latin1'), 'no text either');
    fs.writeFileSync(at('.waybill/attempts/1/tree/left-over'), 'staged');
    fs.mkdirSync(at('.waybill/attempts/1/aside/d0.6'));
    fs.mkdirSync(at('.waybill/attempts/1/aside/d1.7'));
    fs.writeFileSync(at('.waybill/attempts/1/aside/d1.7/mine'), 'put in late');
    userWrites(volume, 'taken', 'newer');
    const record: AsideRecord = {
      attempt: 1, entries: ['ours', 'free', 'taken', 'gone/x'].map(entry), directories: ['empty', 'folder'], making: [],
    };
    const fenced = work.fence({ volume, attempt: 2, asides: [record] });
    expect(visible(volume)).toEqual({ free: '644 edited, path free', 'folder/': '755', 'folder/mine': '644 put in late', taken: '644 newer' });
    expect(Object.values(keptFiles(volume)).toSorted()).toEqual(['644 edited, folder gone', '644 edited, path taken', '644 no name of ours', '644 no such entry', '644 no text either']);
    expect(fenced).toMatchObject({ kind: 'fenced', returned: ['folder', 'free'] });
    expect(fenced.kind === 'fenced' ? fenced.kept.map((kept) => [kept.path, kept.reason]) : []).toEqual([
      [null, 'unexpected'], ['taken', 'edited'], ['gone/x', 'edited'], [null, 'unexpected'], [null, 'unexpected'],
    ]);
    expect(attemptFolders(volume)).toEqual(['2/', '2/aside/', '2/tree/']);
  });

  test('removes nothing recursively: a folder with content that nobody expects goes to kept/ whole', () => {
    work.fence({ volume, attempt: 1, asides: [] });
    fs.mkdirSync(at('.waybill/attempts/1/tree/odd/inner'), { recursive: true });
    fs.writeFileSync(at('.waybill/attempts/1/tree/odd/inner/x'), 'x');
    fs.writeFileSync(at('.waybill/attempts/1/loose'), 'x');
    fs.symlinkSync(volumes, at('.waybill/attempts/1/tree/link'));
    fs.writeFileSync(at('.waybill/attempts/0'), 'not the folder of an attempt');
    work.fence({ volume, attempt: 2, asides: [] });
    expect(Object.entries(keptFiles(volume)).filter(([name]) => !name.endsWith('/')).map(([, content]) => content)).toEqual(['644 x']);
    expect(attemptFolders(volume)).toEqual(['0', '2/', '2/aside/', '2/tree/']);
  });

  test('ends also an attempt whose folder is a file or half made', () => {
    work.inspect({ volume });
    fs.writeFileSync(at('.waybill/attempts/1'), 'a file');
    fs.mkdirSync(at('.waybill/attempts/2'));
    fs.writeFileSync(at('.waybill/attempts/2/aside'), 'a file');
    work.fence({ volume, attempt: 3, asides: [] });
    expect(attemptFolders(volume)).toEqual(['3/', '3/aside/', '3/tree/']);
  });

  test('never replaces a kept file of the same name', () => {
    work.inspect({ volume });
    fs.writeFileSync(at('.waybill/kept/1-f0.1'), 'kept before');
    fs.mkdirSync(at('.waybill/attempts/1/aside'), { recursive: true });
    fs.writeFileSync(at('.waybill/attempts/1/aside/f0.1'), 'kept now');
    fs.mkdirSync(at('.waybill/attempts/1/aside/f0.2'));
    fs.mkdirSync(at('.waybill/kept/1-f0.2'));
    work.fence({ volume, attempt: 2, asides: [] });
    expect(keptFiles(volume)).toEqual({ '1-f0.1': '644 kept before', '1-f0.1.1': '644 kept now', '1-f0.2/': '755', '1-f0.2.1/': '755' });
  });
});

describe('a staged tree', () => {
  const staged = files({ 'configs/a': 'a', 'configs/b*': 'b', 'configs/c': 'c', 'configs/d': 'd' });

  test('is taken over by the attempt that still wants it, each file verified again, the rest left to the fence', () => {
    work.fence({ volume, attempt: 1, asides: [] });
    work.build({ volume, attempt: 1, files: staged });
    const inTree = fs.readdirSync(at('.waybill/attempts/1/tree'));
    const tampered = inTree.find((name) => fs.readFileSync(at(`.waybill/attempts/1/tree/${name}`), 'utf8') === 'c');
    fs.writeFileSync(at(`.waybill/attempts/1/tree/${tampered}`), 'C');

    const wanted = [...staged.filter((one) => one.path !== 'configs/d'), file('configs/e', 'never staged')];
    const fenced = work.fence({ volume, attempt: 2, asides: [], adopt: { attempt: 1, files: wanted } });
    expect(fenced).toMatchObject({ adopted: ['configs/a', 'configs/b'] });
    expect(attemptFolders(volume)).toHaveLength(5);
    expect(work.build({ volume, attempt: 2, files: wanted.slice(2) })).toEqual({ kind: 'built', files: 2, bytes: 13 });
    const nothing = new Map<string, Sha256[]>();
    const survey = work.survey({ volume, wanted, receipts: nothing, known: nothing, directories: [] });
    const record = planApply({ attempt: 2, wanted, receipts: nothing, known: nothing, survey, directories: [], denied: [] });
    work.apply({ volume, attempt: 2, record, wanted });
    expect(visible(volume)).toEqual({ 'configs/': '755', 'configs/a': '644 a', 'configs/b': '755 b', 'configs/c': '644 c', 'configs/e': '644 never staged' });
  });

  test('that is not there, or was never complete, is no obstacle', () => {
    expect(work.fence({ volume, attempt: 2, asides: [], adopt: { attempt: 1, files: staged } })).toMatchObject({ kind: 'fenced', adopted: [] });
  });
});

describe('a record from another attempt', () => {
  test('is refused by a fence that would have to put a file where no path may lead', () => {
    work.fence({ volume, attempt: 1, asides: [] });
    const record: AsideRecord = { attempt: 1, entries: [{ path: '../out', ours: [], denied: false }], directories: [], making: [] };
    expect(() => work.fence({ volume, attempt: 2, asides: [record] })).toThrow(expect.objectContaining({ code: 'PATH_REFUSED' }));
  });
});

test('every named step is announced in the course of deliveries and their rescue', () => {
  const seen = new Set<string>();
  const workspace = newWorkspace(volume);
  const onStep = (name: string): void => void seen.add(name);
  const stopAt = (stop: string) => (name: string): void => {
    onStep(name);
    if (name === stop) throw new Error('killed');
  };
  deliver(workspace, files({ 'a/x': 'x', 'a/y': 'y', 'b/z': 'z', 'b/bad': 'bad' }), { onStep });
  // Edited under our hands: once where the path stays free, once where it is taken.
  let edits = 0;
  deliver(workspace, files({ 'a/x': 'x2', 'a/y': 'y2' }), {
    denied: ['b/bad'], mayHold: [digest('x'), digest('y')],
    onStep: (name, detail) => {
      onStep(name);
      if (name === 'apply:aside' && detail.startsWith('a/')) fs.writeFileSync(at(detail), `mine ${++edits}`);
      if (name === 'apply:judge-aside' && detail === 'a/y') fs.writeFileSync(at('a/y'), 'taken');
    },
  });
  deliver(workspace, files({ c: 'c' }), { onStep });
  expect(() => deliver(workspace, files({ c: 'c2' }), { onStep: stopAt('apply:link') })).toThrow('killed');
  // A folder of the user's, moved away in the last moment, goes back or to kept/.
  fs.mkdirSync(at('.waybill/attempts/4/aside/strange/with'), { recursive: true });
  deliver(workspace, files({ c: 'c', 'd/e': 'e' }), { onStep });
  deliver(workspace, files({ c: 'c' }), {
    onStep: (name, detail) => {
      onStep(name);
      if (name === 'apply:aside-directory' && detail === 'd') fs.writeFileSync(at('d/late'), 'late');
    },
  });
  expect(fs.readFileSync(at('d/late'), 'utf8')).toBe('late');
  work.fence({ volume, attempt: 9, asides: [] });
  work.build({ volume, attempt: 9, files: files({ f: 'f' }) });
  operations(onStep).fence({ volume, attempt: 10, asides: [], adopt: { attempt: 9, files: files({ f: 'f' }) } });
  expect(volumeSteps.filter((step) => !seen.has(step))).toEqual([]);
});
