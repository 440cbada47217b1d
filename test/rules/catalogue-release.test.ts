import { describe, expect, test } from 'vitest';

import { decideStatus, identityNames, identityNamesOfAll, resolveRelease, type ReleaseStatus } from '../../catalogue/release.ts';
import { parseChannel, parsePolicy, parseRuntimeId, parseVersion, parseWorkspaceId, type Version } from '../../schemas/ids.ts';

const statuses: ReleaseStatus[] = ['submitted', 'approved', 'yanked', 'quarantined'];
const v1 = parseVersion('1.0.0');
const workspaceId = parseWorkspaceId('3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11');
const nothingHeld = { workspaceId, heldVersions: new Set<Version>() };
const heldV1 = { workspaceId, heldVersions: new Set([v1]) };
const stable = parseChannel('stable');

const resolve = (policy: string, status: ReleaseStatus, context = nothingHeld) =>
  resolveRelease(parsePolicy(policy), { channels: new Map([[stable, v1]]), rollouts: new Map() }, new Map([[v1, { version: v1, status }]]), context);

describe('which release resolves (B3)', () => {
  test('an approved one, by its pin and by a channel', () => {
    expect(resolve('1.0.0', 'approved')).toMatchObject({ kind: 'resolved', release: { version: v1 } });
    expect(resolve('stable', 'approved')).toMatchObject({ kind: 'resolved', release: { version: v1 } });
  });

  test('a yanked one only where it is held', () => {
    expect(resolve('stable', 'yanked')).toMatchObject({ kind: 'refused', code: 'RELEASE_NOT_APPROVED' });
    expect(resolve('stable', 'yanked', heldV1)).toMatchObject({ kind: 'resolved' });
  });

  test.each(['submitted', 'quarantined'] as const)('a %s one never, held or not', (status) => {
    expect(resolve('1.0.0', status)).toMatchObject({ kind: 'refused', code: 'RELEASE_NOT_APPROVED' });
    expect(resolve('1.0.0', status, heldV1)).toMatchObject({ kind: 'refused', code: 'RELEASE_NOT_APPROVED' });
  });

  test.each(['2.0.0', 'beta'])('nothing in the place of %s, which the item does not have', (policy) => {
    expect(resolve(policy, 'approved')).toMatchObject({ kind: 'refused', code: 'RELEASE_NOT_APPROVED' });
  });
});

describe('the life of a release', () => {
  const ways = statuses.flatMap((from) => statuses.filter((to) => decideStatus(from, to).kind === 'changed').map((to) => `${from} → ${to}`));

  test('has these ways and no other', () => {
    expect(ways).toEqual([
      'submitted → approved', 'submitted → quarantined', 'approved → yanked', 'approved → quarantined', 'yanked → quarantined',
    ]);
  });

  test.each(statuses)('the same again changes nothing: %s', (status) => {
    expect(decideStatus(status, status)).toEqual({ kind: 'unchanged' });
  });

  test('a refusal says what there is instead', () => {
    expect(decideStatus('quarantined', 'approved')).toEqual({ kind: 'rejected', reason: 'a quarantined release cannot become approved, it stays so' });
    expect(decideStatus('yanked', 'approved')).toEqual({ kind: 'rejected', reason: 'a yanked release cannot become approved, only quarantined' });
  });
});

describe('identity files', () => {
  test('are those of the runtime; a runtime that is not known has none', () => {
    expect(identityNames(parseRuntimeId('claude-code'))).toEqual(['system-prompt.md', 'config.yaml']);
    expect(identityNames(parseRuntimeId('seo-agent'))).toEqual([]);
  });

  test('of several runtimes are named once', () => {
    expect(identityNamesOfAll([parseRuntimeId('claude-code'), parseRuntimeId('hermes')])).toEqual(['config.yaml', 'system-prompt.md']);
  });
});
