import { describe, expect, test } from 'vitest';

import { decideDelivery as decide, outcomeOf, withDrift, type Decision, type DeliveryState, type HeldSet, type WorkspaceState } from '../../delivery/decide.ts';
import type { Lapse } from '../../delivery/forbidden.ts';
import { setDigest, type WantedItem, type WantedSet } from '../../delivery/wanted-set.ts';
import { parseItemId, parseOrgId, parseRuntimeId, parseSellerId, parseSha256, parseVersion, parseWorkspaceId } from '../../schemas/ids.ts';

const seo = parseItemId('seo-agent');
const decideDelivery = (...[about, of, set, forbidden = []]: [WorkspaceState, DeliveryState, WantedSet, Lapse[]?]): Decision => decide(about, of, set, forbidden);
const item: WantedItem = {
  itemId: seo, sellerId: parseSellerId('platform'), kind: 'template', version: parseVersion('1.0.0'), archiveSha256: parseSha256('a'.repeat(64)),
};
const other: WantedItem = { ...item, version: parseVersion('2.0.0'), archiveSha256: parseSha256('b'.repeat(64)) };

function workspace(change: Partial<WorkspaceState> = {}): WorkspaceState {
  return {
    workspaceId: parseWorkspaceId('00000000-0000-4000-8000-000000000001'), orgId: parseOrgId('00000000-0000-4000-8000-0000000000aa'),
    runtime: parseRuntimeId('claude-code'), template: seo, plugins: [], status: 'provisioning', deliveryMode: 'volume', epoch: 2, generation: 3,
    eventId: '00000000-0000-4000-8000-0000000000ee', ...change,
  };
}

function wanted(items: readonly WantedItem[], refusal: WantedSet['refusal'] = null): WantedSet {
  return { items, setDigest: setDigest(items), withheld: refusal === null ? [] : [refusal], refusal };
}
const heldSet = (items: readonly WantedItem[]): HeldSet => ({ setDigest: setDigest(items), items });

function delivery(change: Partial<DeliveryState> = {}): DeliveryState {
  return {
    present: heldSet([]), staged: null, applying: null, announced: null, restartRequested: null, restartOwed: null, lapsesAnnounced: [], residue: false, held: [],
    waiting: [], probeDue: false, drifted: null,
    ...change,
  };
}
const holding = (items: readonly WantedItem[]): Partial<DeliveryState> => ({ present: heldSet(items), held: items });
const refunded: WantedSet['refusal'] = { itemId: seo, code: 'NOT_ENTITLED', ended: 'refund' };
const neverBought: WantedSet['refusal'] = { itemId: seo, code: 'NOT_ENTITLED', ended: null };
const online = workspace({ status: 'online' });

describe('a workspace that boots', () => {
  test('gets its wanted set and, with it, AssetsReady', () => {
    expect(decideDelivery(workspace(), delivery(), wanted([item]))).toMatchObject({ act: 'boot', outcome: { kind: 'ready', epoch: 2, generation: 3 } });
  });

  test('C12: parks with NOT_ENTITLED when it holds nothing and may have nothing', () => {
    expect(decideDelivery(workspace(), delivery(), wanted([], neverBought))).toMatchObject({
      act: 'park', code: 'NOT_ENTITLED', outcome: { kind: 'rejected', itemId: seo },
    });
  });

  test('C13: loses what it holds and may no longer have, and is not ready', () => {
    expect(decideDelivery(workspace(), delivery(holding([item])), wanted([], refunded))).toMatchObject({
      act: 'boot', outcome: { kind: 'rejected', code: 'NOT_ENTITLED' }, lapses: [{ itemId: seo, reason: 'refund' }],
    });
  });

  test('I8: goes on from a mixture that a crash left, even when nothing is wanted', () => {
    expect(decideDelivery(workspace(), delivery({ applying: { attempt: 7 } }), wanted([], neverBought)).act).toBe('boot');
  });

  test('C11: is left alone once AssetsReady of this epoch and generation was said', () => {
    const announced = outcomeOf(workspace(), wanted([item]));
    expect(decideDelivery(workspace(), delivery({ ...holding([item]), announced }), wanted([other]))).toMatchObject({ act: 'park', outcome: null });
    expect(decideDelivery(workspace({ epoch: 3 }), delivery({ ...holding([item]), announced }), wanted([other])).act).toBe('boot');
  });

  test('C13, I6: has what is left said anew when something was removed after AssetsReady, and no file changed before another boot (C11)', () => {
    const plugin: WantedItem = { ...item, itemId: parseItemId('brand-voice'), kind: 'plugin' };
    const removed = { ...holding([plugin]), announced: outcomeOf(workspace(), wanted([item, plugin])), restartOwed: 2 };
    expect(decideDelivery(workspace(), delivery(removed), wanted([plugin], refunded))).toMatchObject({ act: 'park', outcome: { kind: 'rejected', code: 'NOT_ENTITLED' } });
    expect(decideDelivery(workspace(), delivery(removed), wanted([plugin]))).toMatchObject({ act: 'confirm', outcome: { kind: 'ready' }, probes: 'all' });
    expect(decideDelivery(workspace(), delivery(removed), wanted([other, plugin]))).toMatchObject({ act: 'park', code: 'MISSING_ASSETS', outcome: null });
    expect(decideDelivery(workspace(), delivery({ ...removed, restartOwed: null }), wanted([plugin])).act).toBe('park');
  });

  test('C12: that was refused and holds what is left is at rest', () => {
    const left: WantedItem = { ...item, itemId: parseItemId('brand-voice'), kind: 'plugin' };
    const set = wanted([left], refunded);
    const told = { ...holding([left]), announced: outcomeOf(workspace(), set) };
    expect(decideDelivery(workspace(), delivery(told), set)).toMatchObject({ act: 'park', discards: false });
    expect(decideDelivery(workspace({ epoch: 3 }), delivery(told), set).act).toBe('boot');
    expect(decideDelivery(workspace(), delivery({ ...told, ...holding([left, item]) }), set).act).toBe('boot');
  });

  test('C6: a cleared template is announced as ready with nothing', () => {
    expect(decideDelivery(workspace({ template: null }), delivery(holding([item])), wanted([]))).toMatchObject({ act: 'boot', outcome: { kind: 'ready' } });
  });
});

describe('a workspace that is online', () => {
  const announced = outcomeOf(online, wanted([item]));

  test('is left alone when it holds what it wants and that was said', () => {
    expect(decideDelivery(online, delivery({ ...holding([item]), announced }), wanted([item]))).toMatchObject({ act: 'park', outcome: null, discards: false });
  });

  test('C11: has a change staged, never applied', () => {
    expect(decideDelivery(online, delivery({ ...holding([item]), announced }), wanted([other]))).toMatchObject({ act: 'stage', reason: 'changed' });
  });

  test('I25: is asked once per epoch and set', () => {
    const staged = { ...heldSet([other]), attempt: 9 };
    const asked = { ...holding([item]), announced, staged, restartRequested: { epoch: 2, setDigests: [staged.setDigest] } };
    expect(decideDelivery(online, delivery(asked), wanted([other]))).toMatchObject({ act: 'park', discards: false });
    expect(decideDelivery(workspace({ status: 'online', epoch: 3 }), delivery(asked), wanted([other])).act).toBe('ask');
    expect(decideDelivery(online, delivery({ ...asked, staged: null }), wanted([other])).act).toBe('stage');
  });

  test('C13: a refund asks for a restart now, an expiry waits for the next boot', () => {
    expect(decideDelivery(online, delivery(holding([item])), wanted([], refunded))).toMatchObject({ act: 'stage', reason: 'revoked' });
    const expired = wanted([], { itemId: seo, code: 'NOT_ENTITLED', ended: 'expired' });
    expect(decideDelivery(online, delivery(holding([item])), expired)).toMatchObject({ act: 'park', lapses: [{ reason: 'expired' }] });
  });

  test('C10: is not stopped for a template that it cannot have', () => {
    const held: WantedItem = { ...item, itemId: parseItemId('support-agent') };
    expect(decideDelivery(online, delivery(holding([held])), wanted([], neverBought))).toMatchObject({ act: 'park', outcome: { kind: 'rejected' } });
  });

  test('C9: what is unknown counts as different', () => {
    expect(decideDelivery(online, delivery({ present: null, held: [item] }), wanted([item])).act).toBe('stage');
    expect(decideDelivery(online, delivery({ ...holding([item]), applying: { attempt: 4 } }), wanted([item])).act).toBe('stage');
  });

  test('C9: is probed when that is due and there is nothing else to do', () => {
    const due = { ...holding([item]), announced, probeDue: true };
    expect(decideDelivery(online, delivery(due), wanted([item]))).toMatchObject({ act: 'confirm', probes: 'identity' });
    expect(decideDelivery(online, delivery(due), wanted([other])).act).toBe('stage');
    expect(decideDelivery(workspace({ status: 'paused' }), delivery(due), wanted([item])).act).toBe('park');
  });

  test('I25: is not asked to restart for drift that a restart did not help against', () => {
    const damaged = delivery({ held: [item], present: null, announced });
    const first = { ...damaged, drifted: withDrift(damaged, workspace({ epoch: 1 }), setDigest([item])) };
    expect(decideDelivery(online, first, wanted([item])).act).toBe('stage');
    const again = { ...first, drifted: withDrift(first, online, setDigest([item])) };
    expect(decideDelivery(online, again, wanted([item]))).toMatchObject({ act: 'park', outcome: { kind: 'rejected', code: 'MISSING_ASSETS', itemId: seo } });
    expect(decideDelivery(online, again, wanted([other])).act).toBe('stage');
    expect(decideDelivery(workspace({ epoch: 3 }), again, wanted([item])).act).toBe('boot');
  });

  test('I15: is not restarted when it never held anything and may have nothing', () => {
    const withheldPlugin = { ...wanted([]), withheld: [{ itemId: parseItemId('brand-voice'), code: 'NOT_ENTITLED' as const, ended: null }] };
    expect(decideDelivery(workspace({ status: 'online', template: null }), delivery({ present: null }), withheldPlugin).act).toBe('confirm');
  });

  test('I6: says so when it holds what it wants and the last word was another', () => {
    expect(decideDelivery(workspace({ status: 'online', generation: 5 }), delivery({ ...holding([item]), announced }), wanted([item]))).toMatchObject({
      act: 'confirm', outcome: { kind: 'ready', generation: 5 },
    });
  });

  test('I9: a staged tree that is no longer wanted, and what a dead attempt left, are discarded', () => {
    const staged = { ...heldSet([other]), attempt: 9 };
    expect(decideDelivery(online, delivery({ ...holding([item]), announced, staged }), wanted([item]))).toMatchObject({ act: 'park', discards: true });
    expect(decideDelivery(online, delivery({ ...holding([item]), announced, residue: true }), wanted([item]))).toMatchObject({ act: 'park', discards: true });
  });
});

describe('what is forbidden', () => {
  const malware: Lapse = { itemId: seo, version: item.version, reason: 'malware' };
  const gone = wanted([], { itemId: seo, code: 'NOT_ENTITLED', ended: 'malware' });

  test.each(['online', 'paused', 'hibernated', 'failed'] as const)('C13: goes now from a workspace that is %s', (status) => {
    expect(decideDelivery(workspace({ status }), delivery(holding([item])), gone, [malware])).toMatchObject({
      act: 'remove', lapses: [malware], asksForRestart: status === 'online',
    });
  });

  test('C13, I25: owes the agent a restart when it went before the agent ran', () => {
    const owed = { ...holding([other]), restartOwed: 2, announced: outcomeOf(online, wanted([other])) };
    expect(decideDelivery(online, delivery(owed), wanted([other]))).toMatchObject({ act: 'ask', reason: 'revoked' });
    expect(decideDelivery(online, delivery({ ...owed, restartRequested: { epoch: 2, setDigests: [setDigest([other])] } }), wanted([other])).act).toBe('park');
    expect(decideDelivery(workspace({ status: 'online', epoch: 3 }), delivery(owed), wanted([other])).act).not.toBe('ask');
  });

  test('C13: goes with the boot that is waiting', () => {
    expect(decideDelivery(workspace(), delivery(holding([item])), gone, [malware])).toMatchObject({ act: 'boot', lapses: [malware], denied: [malware] });
  });

  test('C11: everything that a removed workspace holds is purged, without a word', () => {
    expect(decideDelivery(workspace({ status: 'removed' }), delivery(holding([item])), wanted([item]))).toMatchObject({ act: 'remove', lapses: [], asksForRestart: false });
    expect(decideDelivery(workspace({ status: 'removed' }), delivery(), wanted([item]))).toMatchObject({ act: 'park', outcome: null });
  });
});

test.each(['paused', 'hibernated', 'failed'] as const)('a %s workspace waits', (status) => {
  expect(decideDelivery(workspace({ status }), delivery(holding([item])), wanted([other]))).toMatchObject({ act: 'park', outcome: null, lapses: [] });
});
