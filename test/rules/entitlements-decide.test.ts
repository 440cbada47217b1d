import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { bucketOf, compareVersioned, decide, foldBatch, type Decision, type Versioned } from '../../entitlements/decide.ts';
import { lineKeyOf, lineOf, type Line, type LineEvent } from '../../entitlements/line.ts';
import { parsePolicy, parsePurchaseId } from '../../schemas/ids.ts';
import { historyTwice, lineEvent, noon, purchase, revoke } from '../support/histories.ts';

const none = new Map<string, Line>();
const fold = (events: readonly LineEvent[], held: ReadonlyMap<string, Line> = none): Map<string, Line> =>
  new Map([...held, ...foldBatch(held, events, lineOf, lineKeyOf).changed]);
const sorted = (lines: ReadonlyMap<string, Line>): [string, Line][] => [...lines].toSorted(([a], [b]) => (a < b ? -1 : 1));

/** given what is held, when an event arrives, then this is decided. */
const given = (...held: LineEvent[]) => ({
  when: (event: LineEvent): Decision<Line> => decide([...fold(held).values()][0], lineOf(event)),
});

describe('what wins between two events of one line', () => {
  test('given nothing, a purchase is applied', () => {
    const event = purchase();
    expect(given().when(event)).toEqual({ kind: 'changed', next: lineOf(event), conflict: null });
  });

  test('given a purchase, its revocation is applied', () => {
    const event = revoke({ entitlement_version: 2 });
    expect(given(purchase()).when(event)).toMatchObject({ kind: 'changed', next: { ended: true, reason: 'refund' }, conflict: null });
  });

  test('I2: given a revocation, the purchase that it ended is superseded, however late it comes', () => {
    expect(given(revoke({ entitlement_version: 2 })).when(purchase())).toEqual({ kind: 'unchanged', reason: 'superseded' });
  });

  test('the same content again is a duplicate, whoever published it and when', () => {
    const again = purchase({ event_id: '00000000-0000-4000-8000-00000000ffff', occurred_at: noon + 1 });
    expect(given(purchase()).when(again)).toEqual({ kind: 'unchanged', reason: 'duplicate' });
  });

  test('A6: a revocation of the same version wins over the purchase, in both orders, and both are reported', () => {
    const [live, ended] = [purchase({ entitlement_version: 2 }), revoke({ entitlement_version: 2 })];
    expect(given(live).when(ended)).toEqual({ kind: 'changed', next: lineOf(ended), conflict: lineOf(live) });
    expect(given(ended).when(live)).toEqual({ kind: 'unchanged', reason: 'conflict', conflict: lineOf(live) });
  });

  test('A6: two contents of the same version come out the same in both orders, and both are reported', () => {
    const [one, other] = [purchase({ policy: parsePolicy('1.0.0') }), purchase({ policy: parsePolicy('2.0.0') })];
    const winner = compareVersioned(lineOf(one), lineOf(other)) > 0 ? one : other;
    expect(sorted(fold([one, other]))).toEqual(sorted(fold([winner])));
    expect(sorted(fold([other, one]))).toEqual(sorted(fold([winner])));
    for (const [first, second] of [[one, other], [other, one]] as const) {
      expect(bucketOf(given(first).when(second))).toBe('conflict');
    }
  });

  test.each([
    ['policy', { policy: parsePolicy('beta') }], ['source', { source: 'grant' as const }], ['valid_from', { valid_from: noon }],
    ['valid_until', { valid_until: noon + 1 }],
  ])('whatever is stored is in the digest: another %s is another content', (_, fields) => {
    expect(lineOf(purchase(fields)).digest).not.toBe(lineOf(purchase()).digest);
  });

  test.each([['ended_at', { ended_at: noon + 1 }], ['reason', { reason: 'fraud' as const }]])('another %s of a revocation is another content', (_, fields) => {
    expect(lineOf(revoke(fields)).digest).not.toBe(lineOf(revoke()).digest);
  });
});

describe('a batch', () => {
  test('folds its own events into each other, and writes one state a line', () => {
    const { folded, changed } = foldBatch(none, [purchase(), revoke(), purchase(), purchase({ purchase_id: parsePurchaseId('p-2') })], lineOf, lineKeyOf);
    expect(folded.map(({ decision }) => bucketOf(decision))).toEqual(['applied', 'applied', 'superseded', 'applied']);
    expect([...changed.values()].map(({ purchaseId, ended }) => [purchaseId, ended])).toEqual([['p-1', true], ['p-2', false]]);
  });

  test('I4: puts every event into exactly one bucket', () => {
    fc.assert(fc.property(fc.array(lineEvent), (events) => {
      const { folded } = foldBatch(none, events, lineOf, lineKeyOf);
      expect(folded.map(({ event }) => event)).toEqual(events);
      for (const { decision } of folded) expect(['applied', 'superseded', 'duplicate', 'conflict']).toContain(bucketOf(decision));
    }));
  });
});

describe('any history of lines', () => {
  test('I1: comes to the same state in every order, with any repetition', () => {
    fc.assert(fc.property(historyTwice(lineEvent), ({ first, second }) => {
      expect(sorted(fold(second))).toEqual(sorted(fold(first)));
    }), { numRuns: 500 });
  });

  test('I1: comes to the same state however it is cut into batches, and when a part of it is replayed', () => {
    fc.assert(fc.property(fc.array(lineEvent, { maxLength: 30 }), fc.nat(30), fc.nat(30), (events, cut, from) => {
      const inTwo = fold(events.slice(cut), fold(events.slice(0, cut)));
      expect(sorted(inTwo)).toEqual(sorted(fold(events)));
      expect(sorted(fold(events.slice(from), inTwo))).toEqual(sorted(inTwo));
    }), { numRuns: 500 });
  });

  test('I2: never takes a version back and never reopens a tombstone by an older or equal version', () => {
    fc.assert(fc.property(fc.array(lineEvent), (events) => {
      let held: ReadonlyMap<string, Line> = none;
      for (const event of events) {
        const before = held;
        held = fold([event], held);
        for (const [key, line] of held) {
          const was: Versioned | undefined = before.get(key);
          expect(compareVersioned(line, was ?? line)).toBeGreaterThanOrEqual(0);
          if (was?.ended === true && !line.ended) expect(line.version).toBeGreaterThan(was.version);
        }
      }
    }));
  });

  test('the order is total: of any two states one wins, unless they are the same', () => {
    fc.assert(fc.property(lineEvent, lineEvent, lineEvent, (x, y, z) => {
      const [a, b, c] = [lineOf(x), lineOf(y), lineOf(z)];
      expect(Math.sign(compareVersioned(a, b))).toBe(-Math.sign(compareVersioned(b, a)) + 0);
      if (compareVersioned(a, b) <= 0 && compareVersioned(b, c) <= 0) expect(compareVersioned(a, c)).toBeLessThanOrEqual(0);
    }), { numRuns: 500 });
  });
});
