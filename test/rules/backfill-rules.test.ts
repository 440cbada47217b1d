import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { parseMapping, parseWorkspaceList } from '../../replay/backfill/backfill-input.ts';
import { refuseFaults } from '../../replay/run/line-faults.ts';
import { missingCanaries, movedPins } from '../../replay/backfill/canary-gate.ts';
import { coverageOf } from '../../replay/backfill/coverage.ts';
import { judgeIdentity, sameIdentity, type IdentityFile } from '../../replay/backfill/identity.ts';
import { judgeTagged } from '../../replay/backfill/judge-tagged.ts';
import { decideRevert, decideTag } from '../../replay/backfill/tag-verdict.ts';
import { parseItemId, parseRuntimeId, parseSha256, parseVersion } from '../../schemas/ids.ts';

const [seo, support] = [parseItemId('seo-agent'), parseItemId('support-agent')];
const runtime = parseRuntimeId('claude-code');
const digest = (letter: string) => parseSha256(letter.repeat(64));
const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

describe('the list of a backfill (D3)', () => {
  test('takes full ids, with an item behind a comma, and a header', () => {
    const { listed, repeats, faults } = parseWorkspaceList(`workspace_id,item\r\n${id(1)},seo-agent\r\n\r\n${id(2)}\n${id(1)},seo-agent\n`);
    expect(listed).toEqual([{ line: 2, workspaceId: id(1), entry: 'seo-agent' }, { line: 4, workspaceId: id(2), entry: null }]);
    expect([repeats, faults]).toEqual([1, []]);
  });

  test.each([
    ['a prefix', id(1).slice(0, 13)], ['a pattern', `${id(1).slice(0, 30)}%`], ['a name', 'seo-workspace'], ['capitals', 'ABCDEF00-0000-4000-8000-000000000001'],
    ['a blank before it', ` ${id(1)}`], ['a blank behind it', `${id(1)} `], ['three columns', `${id(1)},seo-agent,x`], ['braces', `{${id(1)}}`],
  ])('refuses %s with its line', (_what, line) => {
    const { listed, faults } = parseWorkspaceList(`${id(9)}\n${line}\n`);
    expect(listed.map(({ workspaceId }) => workspaceId)).toEqual([id(9)]);
    expect(faults).toMatchObject([{ line: 2 }]);
    expect(() => { refuseFaults('The list', faults); }).toThrow('line 2');
  });

  test('refuses one workspace with two items, and says where both are', () => {
    expect(parseWorkspaceList(`${id(1)},seo-agent\n${id(1)},support-agent`).faults).toEqual([
      { line: 2, what: `workspace ${id(1)} is listed with "seo-agent" in line 1 and with "support-agent" here` },
    ]);
  });

  test('never takes for an id what is none, whatever comes', () => {
    fc.assert(fc.property(fc.string(), (text) => {
      for (const { workspaceId } of parseWorkspaceList(text).listed) expect(workspaceId).toMatch(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u);
    }));
  });

  test('a mapping is exact: one item a name, a header that says what the names are', () => {
    expect(parseMapping('entry,item\nseo,seo-agent\n').mapping).toEqual({ by: 'entry', itemOf: new Map([['seo', seo]]) });
    expect(parseMapping('seo,seo-agent\n').faults).toMatchObject([{ line: 1 }]);
    expect(parseMapping('entry,item\nseo,seo-agent\nseo,support-agent\n').faults).toMatchObject([{ line: 3 }]);
    expect(parseMapping('runtime,item\nseo-agent,seo-agent\n').faults).toMatchObject([{ line: 2 }]);
  });
});

describe('the identity that is present (D3)', () => {
  const owners = new Map([[digest('a'), [seo]], [digest('b'), [support]], [digest('c'), [seo, support]], [digest('d'), []]]);
  const judge = (...standing: IdentityFile['standing'][]) =>
    judgeIdentity(seo, standing.map((one, i) => ({ path: `p${String(i)}`, standing: one })), (_path, found) => owners.get(found) ?? null).kind;

  test('agrees where one file is the template\'s and none is another\'s; a shared one counts for both', () => {
    expect([judge(digest('a'), digest('a')), judge(digest('a'), 'missing'), judge(digest('c'), digest('d'))]).toEqual(['agrees', 'agrees', 'agrees']);
  });
  test('contradicts where one is another template\'s, or all that is known is the runtime\'s own', () => {
    expect([judge(digest('a'), digest('b')), judge(digest('b'), 'missing'), judge(digest('d'), 'missing'), judge(digest('f'), digest('b'))]).toEqual(['contradicts', 'contradicts', 'contradicts', 'contradicts']);
  });
  test('is the user\'s where a file is nobody\'s that we know, or no regular file', () => {
    expect([judge(digest('a'), digest('f')), judge('not-regular', digest('a')), judge('too-large')]).toEqual(['users', 'users', 'users']);
  });
  test('is absent where nothing stands', () => {
    expect(judge('missing', 'missing')).toBe('absent');
  });
  test('is compared again at the write', () => {
    const file = { path: 'p', standing: digest('a') };
    expect([sameIdentity([file], [file]), sameIdentity([file], [{ ...file, standing: 'missing' }]), sameIdentity([file], [])]).toEqual([true, false, false]);
  });
});

describe('what is tagged and taken back', () => {
  const blank = { template: null, runtime, status: 'online' } as const;
  test('only where no template is set, and the runtime is the planned one (D3)', () => {
    const wanted = { item: seo, runtime };
    expect(decideTag(blank, wanted)).toEqual({ act: 'tag' });
    expect(decideTag({ ...blank, template: seo }, wanted)).toMatchObject({ state: 'already' });
    expect(decideTag({ ...blank, template: support }, wanted)).toMatchObject({ code: 'SET_BY_HAND' });
    expect(decideTag({ ...blank, status: 'removed' }, wanted)).toMatchObject({ code: 'REMOVED' });
    expect(decideTag({ ...blank, runtime: parseRuntimeId('hermes') }, wanted)).toMatchObject({ code: 'RUNTIME_MISMATCH' });
  });
  test('only what is still ours, not the same value that somebody set since (D6)', () => {
    const set = { template: seo, recordVersion: 7 };
    expect(decideRevert({ template: seo, status: 'online', templateVersion: 7 }, set)).toEqual({ act: 'tag' });
    expect(decideRevert({ template: seo, status: 'online', templateVersion: 9 }, set)).toMatchObject({ code: 'SET_BY_HAND' });
    expect(decideRevert({ template: support, status: 'online', templateVersion: 9 }, set)).toMatchObject({ code: 'SET_BY_HAND' });
    expect(decideRevert({ template: null, status: 'online', templateVersion: 8 }, set)).toMatchObject({ code: 'SET_BY_HAND' });
    expect(decideRevert({ template: seo, status: 'removed', templateVersion: 7 }, set)).toMatchObject({ code: 'REMOVED' });
  });
});

describe('the canary gate (D4)', () => {
  const pin = { item: seo, version: parseVersion('1.0.0'), archiveSha256: digest('a') };
  const canary = { ...pin, workspace: id(1), verifiedAt: 1 };
  test('asks for a verified canary of each release, digest for digest', () => {
    expect(missingCanaries([pin], [canary])).toEqual([]);
    expect(missingCanaries([pin, { ...pin, version: parseVersion('1.0.1') }], [canary])).toHaveLength(1);
    expect(missingCanaries([{ ...pin, archiveSha256: digest('b') }], [canary])).toHaveLength(1);
    expect(missingCanaries([pin], [])).toEqual([pin]);
  });
  test('notices that a release is no longer what the plan leads to', () => {
    expect([movedPins([pin], [pin]), movedPins([pin], [{ ...pin, archiveSha256: digest('b') }]), movedPins([pin], [])]).toEqual([[], [pin], [pin]]);
  });
});

describe('what a run tells', () => {
  test('adds up, or it is no report (D7)', () => {
    const rows = [{ state: 'ok', code: null, count: 3 }, { state: 'skipped', code: 'CONFLICT', count: 2 }, { state: 'skipped', code: 'SET_BY_HAND', count: 1 }, { state: 'planned', code: null, count: 4 }] as const;
    expect(coverageOf(rows, 10, 2)).toEqual({ total: 10, tagged: 3, alreadySet: 0, left: 4, skipped: { CONFLICT: 2, SET_BY_HAND: 1 }, failed: {}, ready: 2 });
    expect(coverageOf(rows, 11, 2)).toBeUndefined();
    expect(coverageOf(rows, 10, 4)).toBeUndefined();
  });

  test('a mis-tag is told from everything that is merely not there yet (D3)', () => {
    const pin = { item: seo, version: parseVersion('1.0.0'), archiveSha256: digest('a') };
    const good = { planned: { item: seo, pin }, set: seo, template: seo, isStillOurs: true, before: 'agrees', isFolded: true, isPresent: true, isReady: true, probe: true } as const;
    expect(judgeTagged(good)).toBe('ready');
    expect([judgeTagged({ ...good, isFolded: false }), judgeTagged({ ...good, isPresent: false }), judgeTagged({ ...good, isReady: false })]).toEqual(['waiting', 'waiting', 'waiting']);
    expect([judgeTagged({ ...good, probe: false }), judgeTagged({ ...good, probe: null })]).toEqual(['drifted', 'drifted']);
    expect([judgeTagged({ ...good, isStillOurs: false }), judgeTagged({ ...good, template: null })]).toEqual(['changed-since', 'changed-since']);
    expect([judgeTagged({ ...good, planned: null }), judgeTagged({ ...good, set: support }), judgeTagged({ ...good, before: 'contradicts' }), judgeTagged({ ...good, planned: { item: seo, pin: null } })])
      .toEqual(['mis-tagged', 'mis-tagged', 'mis-tagged', 'mis-tagged']);
  });
});
