import { expect, test } from 'vitest';

import { recentRestarts, restartDueAt } from '../../delivery/restart-window.ts';

const now = 1_800_000_000_000;
const minute = 60_000;
const window = 30_000;

test('C11: the settle window begins with the first change and later ones do not prolong it', () => {
  expect(restartDueAt({ dueAt: null, askedAt: [] }, 'changed', now, window)).toBe(now + window);
  expect(restartDueAt({ dueAt: now + 5_000, askedAt: [] }, 'changed', now, window)).toBe(now + 5_000);
});

test('C13: what was revoked waits for no window', () => {
  expect(restartDueAt({ dueAt: now + 5_000, askedAt: [] }, 'revoked', now, window)).toBe(now);
});

test('C11, I23: the third restart of an hour is asked for, the fourth waits until the first is an hour old', () => {
  const two = [now - 50 * minute, now - 40 * minute];
  expect(restartDueAt({ dueAt: now, askedAt: two }, 'changed', now, window)).toBe(now);
  const three = [...two, now - 30 * minute];
  expect(restartDueAt({ dueAt: now, askedAt: three }, 'changed', now, window)).toBe(now + 10 * minute);
  expect(restartDueAt({ dueAt: null, askedAt: three }, 'revoked', now, window)).toBe(now + 10 * minute);
});

test('the cap forgets what is older than an hour', () => {
  expect(recentRestarts({ dueAt: null, askedAt: [now - 61 * minute, now - 60 * minute, now - 59 * minute] }, now)).toEqual([now - 59 * minute]);
});
