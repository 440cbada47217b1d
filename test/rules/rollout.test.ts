import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { resolveRelease, type ReleaseStatus } from '../../catalogue/release.ts';
import { bucketCount, bucketOf, decideRollout, defaultTerms, isInside, parseSteps, type StepProgress } from '../../catalogue/rollout.ts';
import { parseChannel, parsePolicy, parseVersion, parseWorkspaceId, type Version } from '../../schemas/ids.ts';

const seed = '0b9f1a52-65a4-4d3c-9c1e-2f4b6a8d0c13';
const workspaces = (count: number): string[] => Array.from({ length: count }, () => randomUUID());

describe('which workspaces a step of a rollout has come to (B3)', () => {
  test('is the same for ever: these buckets are known', () => {
    expect(['3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11', '00000000-0000-4000-8000-000000000000'].map((id) => bucketOf(seed, id))).toEqual([2071, 3797]);
    // Inside are the buckets below the share.
    expect([2_071, 2_072].map((share) => isInside({ seed, share }, '3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11'))).toEqual([false, true]);
  });

  test('a greater share only adds workspaces; the last one has everybody', () => {
    fc.assert(fc.property(fc.uuid(), fc.uuid(), fc.array(fc.integer({ min: 0, max: bucketCount }), { minLength: 2 }), (drawn, workspace, shares) => {
      const inside = shares.toSorted((a, b) => a - b).map((share) => Number(isInside({ seed: drawn, share }, workspace)));
      expect(inside).toEqual(inside.toSorted((a, b) => a - b));
      expect(isInside({ seed: drawn, share: bucketCount }, workspace)).toBe(true);
      expect(isInside({ seed: drawn, share: 0 }, workspace)).toBe(false);
    }));
  });

  test('is about the share that was asked for, and others with another seed', () => {
    const all = workspaces(20_000);
    for (const share of [100, 1_000, 5_000]) {
      const inside = all.filter((workspace) => isInside({ seed, share }, workspace)).length;
      // Five standard deviations.
      expect(Math.abs(inside - (all.length * share) / bucketCount)).toBeLessThan(5 * Math.sqrt((all.length * share * (bucketCount - share)) / bucketCount ** 2));
    }
    const both = all.filter((workspace) => isInside({ seed, share: 1_000 }, workspace) && isInside({ seed: randomUUID(), share: 1_000 }, workspace)).length;
    expect(both).toBeLessThan(all.length / 50);
  });
});

describe('what a channel means while it is being moved (B3)', () => {
  const [v1, v2] = [parseVersion('1.0.0'), parseVersion('2.0.0')];
  const stable = parseChannel('stable');
  const inside = parseWorkspaceId(workspaces(200).find((id) => isInside({ seed, share: 5_000 }, id)));
  const outside = parseWorkspaceId(workspaces(200).find((id) => !isInside({ seed, share: 5_000 }, id)));
  interface Case {
    policy?: string;
    held?: Version[];
    before?: ReleaseStatus;
    next?: ReleaseStatus;
  }
  const resolve = (workspaceId: typeof inside, { policy = 'stable', held = [], before = 'approved', next = 'approved' }: Case = {}) => {
    const resolution = resolveRelease(
      parsePolicy(policy), { channels: new Map([[stable, v1]]), rollouts: new Map([[stable, { version: v2, seed, share: 5_000 }]]) },
      new Map([[v1, { version: v1, status: before }], [v2, { version: v2, status: next }]]), { workspaceId, heldVersions: new Set(held) },
    );
    return resolution.kind === 'resolved' ? resolution.release.version : resolution.code;
  };

  test('inside the step the new release, outside the previous one', () => {
    expect([resolve(inside), resolve(outside)]).toEqual([v2, v1]);
    // Also for who holds the other one already.
    expect([resolve(inside, { held: [v1] }), resolve(outside, { held: [v2] })]).toEqual([v2, v1]);
  });

  test('a pin is a pin, and another channel is not concerned', () => {
    expect([resolve(inside, { policy: '1.0.0' }), resolve(outside, { policy: '2.0.0' })]).toEqual([v1, v2]);
    expect(resolve(inside, { policy: 'beta' })).toBe('RELEASE_NOT_APPROVED');
  });

  test('a new release that was yanked stays where it is held; who has not got it keeps the previous one', () => {
    expect([resolve(inside, { next: 'yanked', held: [v2] }), resolve(inside, { next: 'yanked', held: [v1] }), resolve(outside, { next: 'yanked', held: [v2] })]).toEqual([v2, v1, v1]);
  });

  test('outside, what the previous release may not do is refused, and the new one does not take its place', () => {
    expect([resolve(outside, { before: 'quarantined' }), resolve(outside, { before: 'yanked' }), resolve(inside, { before: 'quarantined' })]).toEqual(['RELEASE_NOT_APPROVED', 'RELEASE_NOT_APPROVED', v2]);
  });
});

describe('the steps of a rollout', () => {
  test.each([
    ['1%,10%,100%', [100, 1_000, 10_000]],
    [' 0.5% , 12.25% , 100% ', [50, 1_225, 10_000]],
  ])('%s', (text, steps) => { expect(parseSteps(text)).toEqual(steps); });

  test.each(['', '100%', '1%', '1%,10%', '10%,1%,100%', '1%,1%,100%', '0%,100%', '1,10,100', '1%,200%', '0.001%,100%', '-1%,100%', Array.from({ length: 21 }, (_, i) => `${i + 1}%`).join(',').replace('21%', '100%')])('%s is refused', (text) => {
    expect(() => parseSteps(text)).toThrow('rollout should be 2 to 20 growing shares that end with 100%');
  });
});

describe('what becomes of a step (B3)', () => {
  const decide = (progress: Partial<StepProgress>, failuresKnown = 0) =>
    decideRollout(defaultTerms, { elapsedMs: defaultTerms.watchMs, isWaking: false, settled: 0, failed: 0, waiting: 0, ...progress }, failuresKnown).act;

  test('it waits for its pages of wakes, for its watch time, and until nine in ten are settled', () => {
    expect(decide({ isWaking: true, settled: 10 })).toBe('wait');
    expect(decide({ elapsedMs: defaultTerms.watchMs - 1, settled: 10 })).toBe('wait');
    expect(decide({ settled: 89, waiting: 11 })).toBe('wait');
    expect(decide({ settled: 90, waiting: 10 })).toBe('advance');
  });

  test('where nobody is concerned there is nothing to wait for but the time', () => {
    expect(decide({})).toBe('advance');
  });

  test('it halts at three refusals that are more than 2 %, before the watch time too', () => {
    expect(decide({ settled: 97, failed: 2, waiting: 1 })).toBe('advance');
    expect(decide({ elapsedMs: 0, isWaking: true, failed: 3, waiting: 146 })).toBe('halt');
    expect(decide({ elapsedMs: 0, failed: 3, waiting: 147 })).toBe('wait');
    expect(decide({ settled: 147, failed: 3 })).toBe('advance');
  });

  test('it halts when nothing more is to come and too few are settled', () => {
    expect(decide({ settled: 8, failed: 1 })).toBe('halt');
    expect(decide({ failed: 1 })).toBe('halt');
    expect(decide({ failed: 1, waiting: 1 })).toBe('wait');
  });

  test('what was known when it was resumed is not held against it again', () => {
    expect(decide({ settled: 10, failed: 3 }, 3)).toBe('advance');
    expect(decide({ settled: 10, failed: 6 }, 3)).toBe('halt');
  });
});
