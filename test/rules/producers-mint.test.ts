import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { decidePurchase, decideRevoke, type Line, type LineTerms } from '../../producers/mint-line.ts';
import { decideRecord, needsRestart, type RecordChange, type StoredRecord } from '../../producers/mint-record.ts';
import { parseItemId, parseOrgId, parsePolicy, parsePurchaseId, parseRuntimeId, parseWorkspaceId } from '../../schemas/ids.ts';

const org_id = parseOrgId('00000000-0000-4000-8000-00000000000a');
const noon = Date.UTC(2026, 0, 1, 12);

describe('entitlement lines', () => {
  const key = { org_id, item_id: parseItemId('seo-agent'), purchase_id: parsePurchaseId('p-1') };
  const terms: fc.Arbitrary<LineTerms> = fc.record({
    source: fc.constantFrom('purchase' as const, 'grant' as const), policy: fc.constantFrom('stable', '1.0.0').map((policy) => parsePolicy(policy)),
    valid_from: fc.integer({ min: noon, max: noon + 2 }), valid_until: fc.constantFrom(null, noon + 9),
  });
  const severities = ['non_payment', 'refund', 'operator', 'fraud', 'malware'] as const;
  const severity = (reason: string): number => severities.findIndex((one) => one === reason);
  const step = fc.oneof(
    fc.record({ kind: fc.constant('purchase' as const), terms }),
    fc.record({ kind: fc.constant('revoke' as const), terms: fc.option(terms, { nil: undefined }), reason: fc.constantFrom(...severities), ended_at: fc.integer({ min: noon, max: noon + 5 }) }),
  );

  test('in any history versions grow by one, a tombstone never lives again and its reason never gets milder (A6, I2)', () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 30 }), (history) => {
      let current: Line | undefined;
      for (const given of history) {
        const decision = given.kind === 'purchase' ? decidePurchase(current, { ...key, ...given.terms }) : decideRevoke(current, { ...key, ...given });
        if (decision.outcome === 'refused') {
          expect(decision.code).toBe(current === undefined ? 'NOT_FOUND' : 'REVOKED');
          continue;
        }
        const { line } = decision;
        expect(line.entitlement_version).toBe((current?.entitlement_version ?? 0) + (decision.outcome === 'minted' ? 1 : 0));
        if (current !== undefined && 'ended_at' in current) {
          if (!('ended_at' in line)) throw new Error('a tombstone lives again');
          expect(severity(line.reason)).toBeGreaterThanOrEqual(severity(current.reason));
        }
        // The same again changes nothing.
        const again = given.kind === 'purchase' ? decidePurchase(line, { ...key, ...given.terms }) : decideRevoke(line, { ...key, ...given });
        expect(again.outcome).toBe('unchanged');
        current = line;
      }
    }));
  });
});

describe('workspace records', () => {
  const workspace = {
    workspace_id: parseWorkspaceId('00000000-0000-4000-8000-000000000001'), org_id, runtime: parseRuntimeId('claude-code'), template: null, plugins: [], delivery_mode: 'volume' as const,
  };
  const fresh = decideRecord(undefined, { kind: 'provision', workspace });
  const change: fc.Arbitrary<RecordChange> = fc.oneof(
    fc.record({ kind: fc.constant('template' as const), template: fc.constantFrom(null, 'seo-agent', 'tutor').map((id) => (id === null ? null : parseItemId(id))) }),
    fc.record({ kind: fc.constant('plugins' as const), plugins: fc.subarray(['a', 'b']).map((ids) => ids.map((id) => parseItemId(id))) }),
    fc.record({ kind: fc.constant('status' as const), status: fc.constantFrom('online' as const, 'online' as const, 'paused' as const, 'hibernated' as const, 'failed' as const, 'removed' as const) }),
    fc.record({ kind: fc.constant('epoch' as const), endsEpoch: fc.constantFrom(undefined, 1, 2), runtime: fc.constantFrom(undefined, undefined, 'codex').map((id) => id && parseRuntimeId(id)) }),
  );
  const step = fc.oneof({ weight: 5, arbitrary: change }, { weight: 1, arbitrary: fc.constant('ready' as const) });
  const differs = (a: StoredRecord, b: StoredRecord): boolean => JSON.stringify([a.runtime, a.template, a.plugins]) !== JSON.stringify([b.runtime, b.template, b.plugins]);

  test('in any history each version grows when its turn is and only then; removed is for ever; online waits for AssetsReady (I2, C6, C11)', () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (history) => {
      if (fresh.outcome === 'refused') throw new Error(fresh.message);
      let current = fresh.next;
      for (const given of history) {
        if (given === 'ready') {
          current = { ...current, ready_epoch: current.epoch, ready_generation: current.generation };
          continue;
        }
        const decision = decideRecord(current, given);
        if (decision.outcome === 'refused') {
          if (current.status === 'removed') expect(decision.code).toBe('REMOVED');
          continue;
        }
        const { next } = decision;
        if (decision.outcome === 'unchanged') {
          expect(next).toBe(current);
          continue;
        }
        expect(current.status).not.toBe('removed');
        expect(next.record_version).toBe(current.record_version + 1);
        expect(next.generation).toBe(current.generation + (differs(current, next) ? 1 : 0));
        expect(next.epoch).toBe(current.epoch + (given.kind === 'epoch' ? 1 : 0));
        expect(next.status === 'provisioning').toBe(given.kind === 'epoch' || current.status === 'provisioning' && given.kind !== 'status');
        expect(next.delivered_to).toBe(current.delivered_to || next.template !== null || next.plugins.length > 0);
        if (given.kind === 'status' && next.status === 'online') {
          expect(['provisioning', 'paused']).toContain(current.status);
          expect(next.delivered_to && (next.ready_epoch !== next.epoch || next.ready_generation !== next.generation)).toBe(false);
          expect(needsRestart(next)).toBe(false);
        }
        current = next;
      }
    }));
  });

  test('a stale ifVersion is refused whatever the change, also one that would change nothing', () => {
    if (fresh.outcome === 'refused') throw new Error(fresh.message);
    expect(decideRecord(fresh.next, { kind: 'template', template: null }, { ifVersion: 2 })).toMatchObject({ outcome: 'refused', code: 'STALE_VERSION' });
  });
});
