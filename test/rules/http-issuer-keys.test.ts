import { decodeProtectedHeader, exportJWK, jwtVerify } from 'jose';
import { expect, test } from 'vitest';

import { IssuerKeys, parseKeySet } from '../../http/issuer-keys.ts';
import { Failure } from '../../process/failure.ts';
import { issue, keySetOf, makeKey, type TestKey } from '../support/tokens.ts';

/** Keys over a set that the test changes, with a clock of its own. */
async function make() {
  const [old, next] = [await makeKey('old'), await makeKey('next', 'ES256')];
  const state = { set: keySetOf(old), loads: 0, isAway: false, now: 0 };
  const keys = new IssuerKeys({
    load: async () => {
      state.loads += 1;
      if (state.isAway) throw new Failure('dependency', 'UNAVAILABLE', 'away');
      return await Promise.resolve(state.set);
    },
  }, () => state.now);
  const verify = async (key: TestKey): Promise<boolean> => await jwtVerify(await issue(key, 'i', {}), keys.find).then(() => true, () => false);
  return { old, next, state, keys, verify };
}

test('a set is loaded once for many tokens, and a key that is new to it is found by loading it anew', async () => {
  const { old, next, state, verify } = await make();
  expect(await Promise.all([verify(old), verify(old), verify(old)])).toEqual([true, true, true]);
  expect(state.loads).toBe(1);
  state.set = keySetOf(old, next);
  state.now += 11_000;
  expect(await verify(next)).toBe(true);
  expect(state.loads).toBe(2);
});

test('made-up key ids cost the issuer at most one load in ten seconds', async () => {
  const { state, verify } = await make();
  for (let i = 0; i < 20; i += 1) {
    expect(await verify(await makeKey(`made-up-${String(i)}`))).toBe(false);
    state.now += 1_000;
  }
  expect(state.loads).toBeLessThanOrEqual(3);
});

test('a key that was taken out of the set stops counting once the set is five minutes old', async () => {
  const { old, next, state, verify } = await make();
  await verify(old);
  state.set = keySetOf(next);
  state.now = 299_000;
  expect(await verify(old)).toBe(true);
  state.now = 301_000;
  expect(await verify(old)).toBe(false);
});

test('an issuer that is away stops nobody for an hour, and everybody after it', async () => {
  const { old, state, keys, verify } = await make();
  await verify(old);
  state.isAway = true;
  state.now = 3_599_000;
  expect(await verify(old)).toBe(true);
  state.now = 3_601_000;
  expect(await verify(old)).toBe(false);
  await expect(keys.ensure()).rejects.toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
});

test('a set with a private or a symmetric key is refused whole, and what is no set too', async () => {
  const key = await makeKey('a');
  const secret = { ...await exportJWK(key.privateKey), kid: 'a' };
  for (const text of [JSON.stringify({ keys: [key.publicJwk, secret] }), '{"keys":[{"kty":"oct","k":"AAAA"}]}', '{"keys":[null]}', '{"keys":{}}', '[]', 'null', '{']) {
    expect(() => parseKeySet(text)).toThrow(Failure);
  }
  expect(decodeProtectedHeader(await issue(key, 'i', {})).kid).toBe('a');
});
