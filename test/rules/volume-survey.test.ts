import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import type { AsideRecord } from '../../delivery/volume/volume-work.ts';
import { attemptFolders, deliver, digest, file, files, newWorkspace, operations, userWrites, volumesFolder } from '../support/volume-delivery.ts';

const volumes = volumesFolder();
let volume: string;

beforeEach(() => {
  volume = fs.mkdtempSync(path.join(volumes, 'v-'));
});
afterAll(() => fs.rmSync(volumes, { recursive: true }));

const at = (name: string): string => path.join(volume, name);
const work = operations();

const survey = (wanted: Record<string, string>, receipts: Record<string, string[]> = {}, directories: string[] = [], denied: string[] = []) => {
  const digests = new Map(Object.entries(receipts).map(([name, contents]) => [name, contents.map(digest)]));
  const found = work.survey({ volume, wanted: files(wanted), receipts: digests, known: new Map(), directories, denied });
  const states = (list: typeof found.wanted): Record<string, string> => Object.fromEntries(list.map((one) => [one.path, one.state]));
  return { wanted: states(found.wanted), unwanted: states(found.unwanted), make: found.directoriesToMake };
};
const probe = (contents: Record<string, string>) => work.probe({ volume, files: files(contents) }).map((probed) => probed.state);
const depth = (components: number): string => Array.from({ length: components }, () => 'd').join('/');

describe('build', () => {
  beforeEach(() => {
    work.fence({ volume, attempt: 1, asides: [] });
  });

  test('refuses bytes that are not those of the digest, and leaves none of them (B5)', () => {
    const wrong = { ...file('a', 'right'), bytes: Buffer.from('wrong') };
    expect(() => work.build({ volume, attempt: 1, files: [wrong] })).toThrow(expect.objectContaining({ kind: 'subject', code: 'INTEGRITY_FAILED' }));
    expect(attemptFolders(volume)).toEqual(['1/', '1/aside/', '1/tree/']);
  });

  test('takes a file at the limit and refuses one byte more (C14, I23)', () => {
    const small = operations(undefined, 8);
    expect(small.build({ volume, attempt: 1, files: [file('a', '12345678')] })).toMatchObject({ bytes: 8 });
    expect(() => small.build({ volume, attempt: 1, files: [file('b', '123456789')] })).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }));
  });

  test('may be called once a release, and again for the same file', () => {
    work.build({ volume, attempt: 1, files: [file('a', '1'), file('b', '2')] });
    work.build({ volume, attempt: 1, files: [file('b', '3'), file('c', '4')] });
    expect(Object.values(fs.readdirSync(at('.waybill/attempts/1/tree')))).toHaveLength(3);
  });

  test('reads bytes that are shared between threads', () => {
    const bytes = new Uint8Array(new SharedArrayBuffer(3));
    bytes.set([1, 2, 3]);
    const shared = { path: 'a', bytes, sha256: digest(Uint8Array.from(bytes)), executable: false };
    expect(work.build({ volume, attempt: 1, files: [shared] })).toEqual({ kind: 'built', files: 1, bytes: 3 });
  });

  test('of many files waits for the disk once and writes them all', () => {
    const many = files(Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`f${n}`, `content ${n}`])));
    expect(work.build({ volume, attempt: 1, files: many })).toMatchObject({ files: 40 });
  });

  test('in a fenced attempt is superseded (I24)', () => {
    work.fence({ volume, attempt: 2, asides: [] });
    expect(work.build({ volume, attempt: 1, files: [file('a', '1')] })).toEqual({ kind: 'superseded' });
  });
});

describe('survey', () => {
  test('tells what stands at each path that is wanted or has receipts', () => {
    for (const [name, content] of Object.entries({ same: 'new', old: 'old', edited: 'mine', left: 'old', 'left-edited': 'mine' })) userWrites(volume, name, content);
    fs.mkdirSync(at('folder'));
    const receipts = { same: ['old'], old: ['older', 'old'], edited: ['old'], left: ['old'], 'left-edited': ['old'], 'left-absent': ['old'] };
    const found = survey({ same: 'new', old: 'new', edited: 'new', absent: 'new', folder: 'new', 'mode*': 'new' }, receipts);
    expect(found.wanted).toEqual({ same: 'same', old: 'ours', edited: 'user', absent: 'absent', folder: 'user', mode: 'absent' });
    expect(found.unwanted).toEqual({ left: 'ours', 'left-edited': 'user', 'left-absent': 'absent' });
  });

  test('names the folders that will be made, parents first', () => {
    fs.mkdirSync(at('there'));
    expect(survey({ 'there/new/deep/a': 'a', 'there/b': 'b', 'other/c': 'c' }).make).toEqual(['other', 'there/new', 'there/new/deep']);
  });

  test('sees no obstacle in a file or folder of ours that leaves with the set', () => {
    userWrites(volume, 'skills', 'ours');
    userWrites(volume, 'notes/x', 'ours');
    const found = survey({ 'skills/a': 'a', notes: 'n' }, { skills: ['ours'], 'notes/x': ['ours'] }, ['notes']);
    expect(found).toEqual({ wanted: { 'skills/a': 'absent', notes: 'absent' }, unwanted: { skills: 'ours', 'notes/x': 'ours' }, make: ['skills'] });
  });

  test('sees one in a file, link or folder of the user', () => {
    userWrites(volume, 'skills', 'mine');
    userWrites(volume, 'notes/x', 'mine');
    fs.symlinkSync('notes', at('link'));
    expect(survey({ 'skills/a': 'a', notes: 'n', 'link/x': 'mine' }).wanted).toEqual({ 'skills/a': 'user', notes: 'user', 'link/x': 'user' });
  });

  test('counts what is denied as leaving, whoever changed it (C13)', () => {
    userWrites(volume, 'bad', 'altered');
    expect(survey({ bad: 'good' }, { bad: ['evil'] }, [], ['bad']).wanted).toEqual({ bad: 'ours' });
  });
});

describe('probe', () => {
  test('tells ok, missing, different and not regular apart, as a boot would see it (C9, I7)', () => {
    for (const [name, content] of Object.entries({ 'a/ok': 'right', 'a/wrong': 'wrong', 'a/longer': 'right and more', 'a/shorter': 'r' })) userWrites(volume, name, content);
    fs.symlinkSync('ok', at('a/link'));
    fs.symlinkSync('a', at('b'));
    fs.mkdirSync(at('a/folder'));
    const names = ['a/ok', 'a/wrong', 'a/longer', 'a/shorter', 'a/link', 'a/folder', 'b/ok', 'a/ok2', 'c/d/e'];
    const states = names.map((name) => probe({ [name]: 'right' })[0]);
    expect(states).toEqual(['ok', 'different', 'different', 'different', 'not-regular', 'not-regular', 'not-regular', 'missing', 'missing']);
  });

  test('does not wait for a pipe that nobody writes to', () => {
    execFileSync('mkfifo', [at('pipe')]);
    fs.mkdirSync(at('folder'));
    execFileSync('mkfifo', [at('folder/pipe')]);
    expect(probe({ pipe: 'right', 'pipe/below': 'right', 'folder/pipe': 'right' })).toEqual(['not-regular', 'not-regular', 'not-regular']);
  });
});

describe('a path', () => {
  test.each([
    '', '/etc/passwd', 'a//b', 'a/', '.', '..', 'a/../b', './a', 'a/./b', 'a\0b', '.waybill', '.waybill/attempts/1', '.WAYBILL/x', '\ud800',
    'x'.repeat(241), depth(17),
  ])('%j is refused by every call that takes one (C14, I23)', (name) => {
    const wanted = [{ ...file('a', 'a'), path: name }];
    const digests = new Map([[name, [digest('a')]]]);
    const record: AsideRecord = { attempt: 1, entries: [{ path: name, ours: [], denied: false }], directories: [], making: [] };
    const refused: unknown = expect.objectContaining({ kind: 'subject', code: 'PATH_REFUSED' });
    work.fence({ volume, attempt: 1, asides: [] });
    expect(() => work.fence({ volume, attempt: 2, asides: [], adopt: { attempt: 1, files: wanted } })).toThrow(refused);
    expect(() => work.survey({ volume, wanted, receipts: new Map(), known: new Map(), directories: [] })).toThrow(refused);
    expect(() => work.survey({ volume, wanted: [], receipts: digests, known: new Map(), directories: [] })).toThrow(refused);
    expect(() => work.build({ volume, attempt: 1, files: wanted })).toThrow(refused);
    expect(() => work.apply({ volume, attempt: 1, wanted: [], record })).toThrow(refused);
    expect(() => work.probe({ volume, files: wanted })).toThrow(refused);
  });

  test.each(['x'.repeat(240), depth(16), 'waybill', 'a/.waybill', ' ', 'é\n'])('%j is delivered (C14, I23)', (name) => {
    expect(deliver(newWorkspace(volume), [file(name, 'a')])?.probed).toEqual([{ path: name, state: 'ok', sha256: digest(Buffer.from('a')) }]);
  });
});
