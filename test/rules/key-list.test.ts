import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { describe, expect, test } from 'vitest';

import {
  checkCurrent, followKeyLists, keyIdOf, keyListMessage, parseKeyList, sellerKeys, serializeKeyList, trustFirst, type KeyList, type ListedKey, type SignedKeyList,
} from '../../catalogue/key-list.ts';
import { manifestMessage, verifyManifest } from '../../catalogue/manifest-signature.ts';
import { parseSellerId } from '../../schemas/ids.ts';

interface Key extends ListedKey {
  readonly privateKey: KeyObject;
}

function makeKey(): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return { privateKey, publicKey: der, keyId: keyIdOf(der) };
}

const day = 86_400_000;
const now = Date.UTC(2027, 0, 31);
const acme = parseSellerId('acme');
const [a, b, c, d] = [makeKey(), makeKey(), makeKey(), makeKey()];
const [oldKey, newKey, stranger] = [makeKey(), makeKey(), makeKey()];
const listed = ({ keyId, publicKey }: Key): ListedKey => ({ keyId, publicKey });

function makeList(version: number, change: Partial<KeyList> = {}): KeyList {
  return {
    version, issuedAt: now, expiresAt: now + 90 * day, root: { threshold: 2, keys: [a, b, c].map(listed) },
    sellers: [{ sellerId: acme, keys: [listed(oldKey)] }], broker: [], ...change,
  };
}

function signed(list: KeyList, ...keys: readonly Key[]): SignedKeyList {
  const text = serializeKeyList(list);
  return { signed: text, signatures: keys.map((key) => ({ key_id: key.keyId, signature: sign(null, keyListMessage(text), key.privateKey).toString('base64') })) };
}

const first = trustFirst(signed(makeList(1), a, b));

describe('a key list', () => {
  test('says after parsing what was written', () => {
    expect(parseKeyList(serializeKeyList(makeList(7)))).toMatchObject({ version: 7, expiresAt: now + 90 * day, root: { threshold: 2 }, broker: [] });
  });

  test('that is not in its one form is refused: blanks, unknown fields, foreign ids, keys of another kind', () => {
    const text = serializeKeyList(makeList(1));
    const rsa = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' });
    const odd = serializeKeyList(makeList(1, { broker: [{ keyId: keyIdOf(rsa), publicKey: rsa }] }));
    for (const bad of [`${text} `, text.replace('"format":1', '"format":1,"more":1'), text.replace(oldKey.keyId, stranger.keyId), text.replace('"threshold":2', '"threshold":4'), odd, '{}', 'x']) {
      expect(() => parseKeyList(bad)).toThrow('The key list is refused');
    }
  });

  test('takes the threshold of its root keys, each counted once, strangers not at all', () => {
    expect(() => trustFirst(signed(makeList(1), a))).toThrow('it carries 1 signatures of its own root keys, and 2 are needed');
    expect(() => trustFirst(signed(makeList(1), a, a))).toThrow('it carries 1 signatures');
    expect(() => trustFirst(signed(makeList(1), a, stranger))).toThrow('it carries 1 signatures');
    const forged = { ...signed(makeList(1), a), signatures: [...signed(makeList(1), a).signatures, { key_id: b.keyId, signature: signed(makeList(2), b).signatures[0]?.signature ?? '' }] };
    expect(() => trustFirst(forged)).toThrow('it carries 1 signatures');
    expect(trustFirst(signed(makeList(1), c, a, stranger)).list.version).toBe(1);
  });

  test('accepts nothing from the moment that it expires', () => {
    expect(() => { checkCurrent(first, now + 90 * day - 1); }).not.toThrow();
    expect(() => { checkCurrent(first, now + 90 * day); }).toThrow('version 1 has expired');
  });
});

describe('a chain of key lists', () => {
  test('rotates its root: the threshold of the old keys and of the new ones have to agree', () => {
    const rotated = makeList(2, { root: { threshold: 2, keys: [c, d].map(listed) } });
    expect(() => followKeyLists(first, [signed(rotated, c, d)])).toThrow('of the root keys of version 1');
    expect(() => followKeyLists(first, [signed(rotated, a, b)])).toThrow('of its own root keys');
    const second = followKeyLists(first, [signed(rotated, a, c, d)]);
    expect(followKeyLists(second, [signed(makeList(3, { root: { threshold: 1, keys: [listed(d)] } }), c, d)]).list.version).toBe(3);
    expect(() => followKeyLists(second, [signed(makeList(3), a, b)])).toThrow('of the root keys of version 2');
  });

  test('has no way back, no gap, and one text for each version', () => {
    const second = followKeyLists(first, [signed(makeList(2), a, b)]);
    expect(() => followKeyLists(second, [signed(makeList(1), a, b)])).toThrow('version 1 does not follow version 2');
    expect(() => followKeyLists(first, [signed(makeList(3), a, b)])).toThrow('the lists between them are missing');
    expect(() => followKeyLists(second, [signed(makeList(2, { sellers: [] }), a, b)])).toThrow('version 2 does not follow version 2');
    expect(followKeyLists(second, [signed(makeList(2), b, c)])).toBe(second);
  });

  test('leads through lists that have expired to one that has not', () => {
    const lapsed = makeList(2, { issuedAt: now - 100 * day, expiresAt: now - day });
    const last = followKeyLists(first, [signed(lapsed, a, b), signed(makeList(3), a, b)]);
    expect(() => { checkCurrent(last, now); }).not.toThrow();
    expect(() => { checkCurrent(followKeyLists(first, [signed(lapsed, a, b)]), now); }).toThrow('has expired');
  });

  test('replaces a stolen key: what the thief signs is accepted under the old list and not under the next', () => {
    const manifest = JSON.stringify({ any: 'text' });
    const stolen = sign(null, manifestMessage(manifest), oldKey.privateKey);
    // The signature is looked at before the text, so what is no manifest shows that it was taken for the seller's.
    const accepts = (list: KeyList): boolean => sellerKeys(list, acme).some(({ publicKey }) => {
      try {
        verifyManifest(manifest, stolen, publicKey);
        return true;
      } catch (error) {
        return (error as { code: string }).code === 'MANIFEST_INVALID';
      }
    });
    const next = followKeyLists(first, [signed(makeList(2, { sellers: [{ sellerId: acme, keys: [listed(newKey)] }] }), b, c)]);
    expect([accepts(first.list), accepts(next.list)]).toEqual([true, false]);
    expect(sellerKeys(next.list, parseSellerId('nobody'))).toEqual([]);
  });
});
