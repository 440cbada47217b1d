import { describe, expect, test } from 'vitest';

import type { EffectiveEntitlement } from '../../entitlements/effective.ts';
import { setDigest, wantedSet, type CatalogueEntry, type WantedSetInput } from '../../delivery/wanted-set.ts';
import {
  parseChannel, parseItemId, parseRuntimeId, parseSellerId, parseSha256, parseVersion, parseWorkspaceId, type ItemId,
} from '../../schemas/ids.ts';

const seo = parseItemId('seo-agent');
const voice = parseItemId('brand-voice');
const claude = parseRuntimeId('claude-code');
const digest = (letter: string) => parseSha256(letter.repeat(64));

function entry(itemId: ItemId, change: Partial<CatalogueEntry> = {}): CatalogueEntry {
  return {
    itemId, sellerId: parseSellerId('platform'), kind: itemId === seo ? 'template' : 'plugin', access: 'sold', runtimes: [claude],
    channels: new Map([[parseChannel('stable'), parseVersion('1.1.0')]]),
    rollouts: new Map(),
    releases: new Map([
      [parseVersion('1.0.0'), { version: parseVersion('1.0.0'), status: 'yanked', archiveSha256: digest('a') }],
      [parseVersion('1.1.0'), { version: parseVersion('1.1.0'), status: 'approved', archiveSha256: digest('b') }],
      [parseVersion('2.0.0'), { version: parseVersion('2.0.0'), status: 'submitted', archiveSha256: digest('c') }],
    ]),
    ...change,
  };
}

function entitled(policy = 'stable'): EffectiveEntitlement {
  return { entitled: true, policy: policy === 'stable' ? parseChannel(policy) : parseVersion(policy), validUntil: null, reason: null, nextChangeAt: null };
}
const refunded: EffectiveEntitlement = { entitled: false, policy: null, validUntil: null, reason: 'refund', nextChangeAt: null };

function wanted(change: Partial<WantedSetInput> = {}) {
  return wantedSet({
    workspaceId: parseWorkspaceId('3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11'), template: seo, baseline: null, plugins: [voice], runtime: claude, thirdPartySellers: false, held: [],
    catalogue: new Map([[seo, entry(seo)], [voice, entry(voice)]]),
    entitlements: new Map([[seo, entitled()], [voice, entitled()]]),
    ...change,
  });
}
const names = (set: ReturnType<typeof wanted>) => set.items.map((item) => `${item.itemId}@${item.version}`);

describe('the wanted set', () => {
  test('holds what the record asks for, as its channel resolves, sorted by item', () => {
    expect(names(wanted())).toEqual(['brand-voice@1.1.0', 'seo-agent@1.1.0']);
    expect(wanted().refusal).toBeNull();
  });

  test('C13: a template without a live line is withheld with the reason, and no other identity takes its place', () => {
    const set = wanted({ entitlements: new Map([[seo, refunded], [voice, entitled()]]) });
    expect(names(set)).toEqual(['brand-voice@1.1.0']);
    expect(set.refusal).toEqual({ itemId: seo, code: 'NOT_ENTITLED', ended: 'refund' });
  });

  test('C6: the baseline takes the place of a template that is not there, never of one that is withheld, and refuses nothing', () => {
    const plain = parseItemId('plain-agent');
    const catalogue = new Map([[seo, entry(seo)], [voice, entry(voice)], [plain, entry(plain, { kind: 'template', access: 'platform' })]]);
    expect(names(wanted({ template: null, baseline: plain, catalogue }))).toEqual(['brand-voice@1.1.0', 'plain-agent@1.1.0']);
    expect(names(wanted({ baseline: plain, catalogue, entitlements: new Map([[seo, refunded], [voice, entitled()]]) }))).toEqual(['brand-voice@1.1.0']);
    const other = wanted({ template: null, baseline: plain, catalogue: new Map([...catalogue, [plain, entry(plain, { kind: 'template', access: 'platform', runtimes: [] })]]) });
    expect(other).toMatchObject({ refusal: null, withheld: [{ itemId: plain, code: 'RUNTIME_MISMATCH' }] });
  });

  test('C10: a plugin without a live line is withheld and refuses nothing else', () => {
    const set = wanted({ entitlements: new Map([[seo, entitled()]]) });
    expect(names(set)).toEqual(['seo-agent@1.1.0']);
    expect(set.withheld).toEqual([{ itemId: voice, code: 'NOT_ENTITLED', ended: null }]);
    expect(set.refusal).toBeNull();
  });

  test('B1, I12: what the catalogue does not list is withheld', () => {
    expect(wanted({ catalogue: new Map([[voice, entry(voice)]]) }).refusal?.code).toBe('TEMPLATE_UNKNOWN');
  });

  test('B1: a plugin is no template', () => {
    expect(wanted({ template: voice, plugins: [] }).refusal?.code).toBe('TEMPLATE_UNKNOWN');
  });

  test('C5: a template that does not support the runtime is withheld', () => {
    expect(wanted({ runtime: parseRuntimeId('hermes') }).refusal?.code).toBe('RUNTIME_MISMATCH');
  });

  test('C16: items of other sellers resolve only where third parties are switched on', () => {
    const catalogue = new Map([[seo, entry(seo, { sellerId: parseSellerId('acme') })], [voice, entry(voice)]]);
    expect(wanted({ catalogue }).refusal?.code).toBe('SELLER_NOT_ENABLED');
    expect(wanted({ catalogue, thirdPartySellers: true }).refusal).toBeNull();
  });

  test.each(['open', 'platform'] as const)('A1: an item with access %s needs no line', (access) => {
    const set = wanted({ catalogue: new Map([[seo, entry(seo, { access })], [voice, entry(voice)]]), entitlements: new Map() });
    expect(names(set)).toEqual(['seo-agent@1.1.0']);
  });

  test('B3: a pin to a release that is not approved is withheld', () => {
    expect(wanted({ entitlements: new Map([[seo, entitled('2.0.0')], [voice, entitled()]]) }).refusal?.code).toBe('RELEASE_NOT_APPROVED');
  });

  test('a yanked release resolves only where it is held', () => {
    const entitlements = new Map([[seo, entitled('1.0.0')], [voice, entitled()]]);
    expect(wanted({ entitlements }).refusal?.code).toBe('RELEASE_NOT_APPROVED');
    expect(names(wanted({ entitlements, held: [{ itemId: seo, version: parseVersion('1.0.0') }] }))).toContain('seo-agent@1.0.0');
  });

  test('the set digest depends on the releases and not on their order', () => {
    const { items } = wanted();
    expect(setDigest(items.toReversed())).toBe(setDigest(items));
    expect(setDigest(items.slice(1))).not.toBe(setDigest(items));
  });
});
