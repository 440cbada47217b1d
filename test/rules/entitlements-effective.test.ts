import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { effectiveEntitlement, isLive } from '../../entitlements/effective.ts';
import { lineOf, type LineEvent } from '../../entitlements/line.ts';
import { parsePolicy, parsePurchaseId } from '../../schemas/ids.ts';
import { lineEvent, noon, purchase, revoke } from '../support/histories.ts';

const at = (now: number, ...events: LineEvent[]) => effectiveEntitlement(events.map(lineOf), now);
const p = (id: string) => ({ purchase_id: parsePurchaseId(id) });
const policy = (text: string) => ({ policy: parsePolicy(text) });
const hour = 3_600_000;
const until = (id: string, end: number | null) => purchase({ ...p(id), valid_until: end });

describe('what the lines of a pair add up to', () => {
  test('no line: not entitled, and nothing to say about why', () => {
    expect(at(noon)).toEqual({ entitled: false, policy: null, validUntil: null, reason: null, nextChangeAt: null });
  });

  test('A1: several lines may stand for one item; refunding one leaves the others', () => {
    expect(at(noon, purchase(p('p-1')), revoke(p('p-2')))).toMatchObject({ entitled: true, reason: null });
    expect(at(noon, revoke(p('p-1')), revoke(p('p-2')))).toMatchObject({ entitled: false, reason: 'refund' });
  });

  test('A7: a line is live from valid_from until just before valid_until', () => {
    const line = purchase({ valid_from: noon, valid_until: noon + hour });
    expect([noon - 1, noon, noon + hour - 1, noon + hour].map((now) => at(now, line).entitled)).toEqual([false, true, true, false]);
    expect([noon - 1, noon, noon + hour - 1, noon + hour].map((now) => at(now, line).nextChangeAt)).toEqual([noon, noon + hour, noon + hour, null]);
  });

  test('a line that has yet to begin is no reason for anything', () => {
    expect(at(noon, purchase({ valid_from: noon + hour }))).toMatchObject({ entitled: false, reason: null, nextChangeAt: noon + hour });
  });

  test('it lasts as long as the longest live line, and without end when one has none', () => {
    expect(at(noon, until('p-1', noon + hour), until('p-2', noon + 2 * hour)).validUntil).toBe(noon + 2 * hour);
    expect(at(noon, until('p-1', noon + hour), until('p-2', null)).validUntil).toBeNull();
    expect(at(noon + hour, until('p-1', noon + hour)).validUntil).toBeNull();
  });
});

describe('the policy of several live lines', () => {
  test('a channel goes before a pin', () => {
    expect(at(noon, purchase({ ...p('p-1'), ...policy('9.0.0') }), purchase({ ...p('p-2'), ...policy('stable') })).policy).toBe('stable');
  });

  test('of pins the newest release, by number and not by letter', () => {
    expect(at(noon, purchase({ ...p('p-1'), ...policy('1.9.0') }), purchase({ ...p('p-2'), ...policy('1.10.0') })).policy).toBe('1.10.0');
  });

  test('otherwise purchase_id decides', () => {
    expect(at(noon, purchase({ ...p('p-2'), ...policy('beta') }), purchase({ ...p('p-1'), ...policy('stable') })).policy).toBe('stable');
  });

  test('a line that is not live has no say', () => {
    expect(at(noon, revoke({ ...p('p-1'), ...policy('stable') }), purchase({ ...p('p-2'), ...policy('1.0.0') })).policy).toBe('1.0.0');
  });
});

describe('C13: the reason', () => {
  test('acts only when no live line remains', () => {
    expect(at(noon, revoke({ ...p('p-1'), reason: 'malware' }), purchase(p('p-2'))).reason).toBeNull();
  });

  test('is that of the line that ended last', () => {
    const early = revoke({ ...p('p-1'), reason: 'malware', ended_at: noon - 2 });
    expect(at(noon, early, revoke({ ...p('p-2'), reason: 'refund', ended_at: noon - 1 })).reason).toBe('refund');
    expect(at(noon, early, purchase({ ...p('p-2'), valid_until: noon - 1 })).reason).toBe('expired');
  });

  test('ties go to the severest: malware, fraud, operator, refund, non_payment, expired', () => {
    const ended = (['non_payment', 'refund', 'operator', 'fraud', 'malware'] as const).map((reason) => revoke({ ...p(`p-${reason}`), reason }));
    let [seen, expected] = [[purchase({ ...p('p-0'), valid_until: noon })] as LineEvent[], 'expired'];
    expect(at(noon, ...seen).reason).toBe(expected);
    for (const event of ended) {
      [seen, expected] = [[event, ...seen], event.event.reason];
      expect(at(noon, ...seen).reason).toBe(expected);
    }
  });

  test('a revocation after the line had expired speaks for it', () => {
    expect(at(noon, revoke({ valid_until: noon - hour, reason: 'fraud', ended_at: noon - 1 })).reason).toBe('fraud');
  });
});

describe('any lines at any moment', () => {
  test('A1: entitled exactly while a line is live, with a policy exactly then and a reason only otherwise', () => {
    fc.assert(fc.property(fc.array(lineEvent), fc.integer({ min: -10, max: 10 }), (events, hours) => {
      const now = noon + hours * hour;
      const all = events.map(lineOf);
      const effective = effectiveEntitlement(all, now);
      expect(effective.entitled).toBe(all.some((line) => isLive(line, now)));
      expect(effective.policy === null).toBe(!effective.entitled);
      if (effective.entitled) expect(effective.reason).toBeNull();
    }));
  });

  test('A7: nothing but nextChangeAt makes a difference by itself', () => {
    fc.assert(fc.property(fc.array(lineEvent, { maxLength: 6 }), fc.integer({ min: -10, max: 10 }), (events, hours) => {
      const now = noon + hours * hour;
      const effective = effectiveEntitlement(events.map(lineOf), now);
      const end = effective.nextChangeAt ?? now + 100 * hour;
      expect(end).toBeGreaterThan(now);
      for (const later of [now + 1, Math.floor((now + end) / 2), end - 1]) {
        expect(effectiveEntitlement(events.map(lineOf), Math.max(now, later))).toEqual(effective);
      }
    }));
  });

  test('I1: the order in which lines are read makes no difference', () => {
    const distinct = fc.uniqueArray(lineEvent, { selector: ({ event }) => event.purchase_id });
    fc.assert(fc.property(distinct, (events) => {
      expect(effectiveEntitlement(events.map(lineOf).toReversed(), noon)).toEqual(effectiveEntitlement(events.map(lineOf), noon));
    }));
  });
});
