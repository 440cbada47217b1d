import { describe, expect, test } from 'vitest';

import { reasonOf } from '../../cli/explain/reason.ts';
import type { AttemptFacts, DeliveryFacts, EntitlementFacts, PendingFacts, RecordFacts, WorkspaceFacts } from '../../cli/explain/workspace-facts.ts';
import type { Outcome } from '../../delivery/decide.ts';
import { setDigest, type WantedSet, type Withheld } from '../../delivery/wanted-set.ts';
import { parseItemId, parseOrgId, parsePolicy, parsePurchaseId, parseRuntimeId, parseWorkspaceId } from '../../schemas/ids.ts';

const workspaceId = parseWorkspaceId('3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11');
const seo = parseItemId('seo-agent');
const nothing = setDigest([]);

const record: RecordFacts = {
  orgId: parseOrgId('7c9e6679-7425-40de-944b-e07fc1f90ae7'), runtime: parseRuntimeId('claude-code'), template: seo, plugins: [], status: 'provisioning',
  deliveryMode: 'volume', epoch: 2, generation: 1, recordVersion: 3, origin: 'user', eventId: '0b9f1a52-65a4-8d3c-9c1e-2f4b6a8d0c13',
};
const delivery: DeliveryFacts = { assetsVersion: 1, present: null, staged: null, applying: null, announced: null, restartRequested: null, restartDueInMs: null, parkedCode: null };
const ready: Outcome = { kind: 'ready', epoch: 2, generation: 1, setDigest: nothing, withheld: [], code: null, itemId: null };
const due: PendingFacts = { lane: 1, tries: 0, paused: false, attempt: null, dueInMs: 0, leasedForMs: 0 };
const failed: AttemptFacts = { attempt: 7, act: 'boot', startedAt: new Date(0), ms: 12, outcome: 'failed', code: 'VOLUME_FULL', detail: 'no room for 12 MB' };

const facts = (parts: Partial<WorkspaceFacts>): WorkspaceFacts =>
  ({ workspaceId, record, delivery, pending: undefined, wanted: undefined, attempts: [], announcements: [], entitlements: [], ...parts });

const wantedWith = (withheld: Withheld): WantedSet => ({ items: [], setDigest: nothing, withheld: [withheld], refusal: withheld });

const refunded: EntitlementFacts = {
  itemId: seo, entitled: false, policy: null, validUntil: null, reason: 'refund', nextChangeAt: null,
  lines: [{
    orgId: record.orgId, itemId: seo, purchaseId: parsePurchaseId('p-1'), version: 2, ended: true, digest: '', source: 'purchase', policy: parsePolicy('stable'),
    validFrom: 0, validUntil: null, endedAt: Date.UTC(2026, 0, 2), reason: 'refund',
  }],
};

describe('why a workspace is ready or not (E3)', () => {
  test('an unknown one leads to the outbox and the dead letters', () => {
    expect(reasonOf(facts({ record: undefined, delivery: undefined }))).toMatchObject({ state: 'unknown', text: expect.stringContaining('No event') as string });
  });

  test('one that never had anything is none of our business', () => {
    expect(reasonOf(facts({ delivery: undefined }))).toMatchObject({ state: 'idle', cure: null });
  });

  test('a due one that nobody takes points to the workers', () => {
    expect(reasonOf(facts({ pending: due }))).toMatchObject({ state: 'waiting', cure: expect.stringContaining('--role deliveries') as string });
  });

  test('one at work says for how long its claim is good', () => {
    expect(reasonOf(facts({ pending: { ...due, attempt: 9, leasedForMs: 5_000 } }))).toMatchObject({ state: 'working', text: 'Attempt 9 is at work; its claim lasts 5.0 s more.' });
  });

  test('one that waits after a failure says which failure, when the next try is, and the cure of the code', () => {
    const reason = reasonOf(facts({ pending: { ...due, tries: 2, dueInMs: 4_200 }, attempts: [failed] }));
    expect(reason).toMatchObject({ state: 'waiting', code: 'VOLUME_FULL', cure: expect.stringContaining('Free space') as string });
    expect(reason.text).toBe('Attempt 7 failed with VOLUME_FULL: no room for 12 MB. Try 3 is due in 4.2 s.');
  });

  test('one whose boot was told that all is there is ready', () => {
    expect(reasonOf(facts({ delivery: { ...delivery, announced: ready } }))).toMatchObject({ state: 'ready' });
  });

  test('AssetsReady of an earlier boot makes nobody ready', () => {
    const earlier = reasonOf(facts({ delivery: { ...delivery, announced: { ...ready, epoch: 1 } } }));
    expect(earlier.state).not.toBe('ready');
  });

  test('one without an entitlement says which item, and that it was never bought', () => {
    const reason = reasonOf(facts({ delivery: { ...delivery, parkedCode: 'NOT_ENTITLED' }, wanted: wantedWith({ itemId: seo, code: 'NOT_ENTITLED', ended: null }) }));
    expect(reason).toMatchObject({ state: 'refused', code: 'NOT_ENTITLED', cure: expect.stringContaining('Buy or grant') as string });
    expect(reason.text).toContain('seo-agent: ');
    expect(reason.text).toContain('never bought');
  });

  test('one whose entitlement ended says which purchase, when and why', () => {
    const reason = reasonOf(facts({
      delivery: { ...delivery, parkedCode: 'NOT_ENTITLED' }, wanted: wantedWith({ itemId: seo, code: 'NOT_ENTITLED', ended: 'refund' }), entitlements: [refunded],
    }));
    expect(reason.text).toContain('p-1, ended at 2026-01-02T00:00:00.000Z (refund)');
  });

  test('an online one with a staged change waits for its next epoch', () => {
    const online: RecordFacts = { ...record, status: 'online' };
    const staged: DeliveryFacts = { ...delivery, staged: { setDigest: nothing, attempt: 4 }, restartRequested: { epoch: 2, setDigest: nothing } };
    expect(reasonOf(facts({ record: online, delivery: staged }))).toMatchObject({ state: 'restart', cure: expect.stringContaining('trigger epoch') as string });
  });

  test('a staged change whose settle window is not over says when the restart is asked for', () => {
    const settling: DeliveryFacts = { ...delivery, staged: { setDigest: nothing, attempt: 4 }, restartDueInMs: 12_000 };
    expect(reasonOf(facts({ record: { ...record, status: 'online' }, delivery: settling, pending: { ...due, dueInMs: 12_000 } })))
      .toMatchObject({ state: 'restart', text: expect.stringContaining('in 12.0 s') as string });
  });

  test('an online one that holds what it should hold says so', () => {
    const online: RecordFacts = { ...record, status: 'online' };
    const wanted: WantedSet = { items: [], setDigest: nothing, withheld: [], refusal: null };
    expect(reasonOf(facts({ record: online, delivery: { ...delivery, present: { setDigest: nothing, items: [] } }, wanted })))
      .toMatchObject({ state: 'ready', text: 'It holds exactly what it should hold.' });
  });
});
