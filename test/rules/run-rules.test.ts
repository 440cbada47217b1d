import { describe, expect, test } from 'vitest';

import { planHash } from '../../replay/run/plan-hash.ts';
import { etaMs, progressLine } from '../../replay/run/progress.ts';
import { decideThrottle, defaultControls, paceMs } from '../../replay/run/throttle.ts';

describe('a run waits for live traffic (D7)', () => {
  const calm = { lagMs: 0, databaseMs: 1, restarts: 0 };

  test('and says for what, with the threshold; at the threshold it still goes on', () => {
    expect(decideThrottle(calm, defaultControls)).toBeNull();
    expect(decideThrottle({ ...calm, lagMs: 10_000, databaseMs: 250, restarts: 239 }, defaultControls)).toBeNull();
    expect(decideThrottle({ ...calm, lagMs: 12_400 }, defaultControls)).toBe('live lag 12 s > 10 s');
    expect(decideThrottle({ ...calm, databaseMs: 251 }, defaultControls)).toBe('database 251 ms > 250 ms');
    expect(decideThrottle({ ...calm, restarts: 3 }, { ...defaultControls, restartsPerHour: 3 })).toBe('restart cap 3/h');
  });

  test('and keeps its rate', () => {
    expect(paceMs({ done: 100, startedAt: 0, now: 400 }, 100)).toBe(600);
    expect(paceMs({ done: 100, startedAt: 0, now: 1_500 }, 100)).toBe(0);
  });
});

describe('progress', () => {
  const progress = { total: 407, ok: 183, failed: 0, skipped: 0, perSecond: 98, lagMs: 2_100, throttled: null, etaMs: null };

  test('is one line, always with the reason for waiting (D7)', () => {
    expect(progressLine({ ...progress, throttled: 'restart cap 3/h', etaMs: 228_000 })).toBe('183/407 45.0 % · 98/s · ok 183 failed 0 · lag age 2 s · throttled: restart cap 3/h · ETA 3m48s');
    expect(progressLine({ ...progress, ok: 180, failed: 1, skipped: 2, perSecond: 2.34, etaMs: 2_000 })).toBe('183/407 45.0 % · 2.3/s · ok 180 failed 1 skipped 2 · lag age 2 s · ETA 2s');
    expect(progressLine({ ...progress, total: 0, ok: 0, perSecond: 0 })).toBe('0/0 100.0 % · 0/s · ok 0 failed 0 · lag age 2 s · ETA unknown');
    expect(progressLine({ ...progress, etaMs: 7_500_000 })).toContain('ETA 2h05m');
  });

  test('tells the end only when it can be told', () => {
    expect(etaMs({ left: 224, perSecond: 98 })).toBe(2_286);
    expect(etaMs({ left: 5, perSecond: 0 })).toBeNull();
    expect(etaMs({ left: 0, perSecond: 0 })).toBe(0);
  });
});

describe('the hash of a plan', () => {
  test('is the same whatever the order of keys, and another for every other content', () => {
    const hash = planHash('backfill', { a: 1, b: [1, 2] }, [{ x: null, y: 'z' }]);
    expect(planHash('backfill', { b: [1, 2], a: 1 }, [{ y: 'z', x: null }])).toBe(hash);
    const others = [
      planHash('replay', { a: 1, b: [1, 2] }, [{ x: null, y: 'z' }]), planHash('backfill', { a: 1, b: [2, 1] }, [{ x: null, y: 'z' }]),
      planHash('backfill', { a: 1, b: [1, 2] }, [{ x: null, y: 'zz' }]), planHash('backfill', { a: 1, b: [1, 2] }), planHash('backfill', { a: 1, b: [1, 2] }, [{ x: null, y: 'z' }, {}]),
    ];
    expect(new Set([hash, ...others]).size).toBe(6);
  });
});
