import { describe, expect, test } from 'vitest';

import { sha256 } from '../../catalogue/sha256.ts';
import { CiphertextCache } from '../../delivery/sources/ciphertext-cache.ts';

/** An object of `bytes` bytes that counts how often it is fetched. */
function sealed(content: number, bytes: number) {
  const object = Buffer.alloc(bytes, content);
  const fetched = { times: 0 };
  return { digest: sha256(object), fetched, fetch: async () => { fetched.times += 1; return await Promise.resolve(object); } };
}

describe('the cache of sealed objects', () => {
  test('fetches an object once for everybody who asks, at once or later', async () => {
    const cache = new CiphertextCache(1_000);
    const { digest, fetched, fetch } = sealed(1, 100);
    await Promise.all([cache.get(digest, fetch), cache.get(digest, fetch)]);
    expect((await cache.get(digest, fetch)).length).toBe(100);
    expect(fetched.times).toBe(1);
  });

  test('C14: holds no more bytes than it may, and drops what was not used for longest', async () => {
    const cache = new CiphertextCache(250);
    const [a, b, c] = [sealed(1, 100), sealed(2, 100), sealed(3, 100)];
    for (const one of [a, b, a, c, a, b]) await cache.get(one.digest, one.fetch);
    expect([a.fetched.times, b.fetched.times, c.fetched.times]).toEqual([1, 2, 1]);
  });

  test('keeps nothing that is larger than all of it', async () => {
    const cache = new CiphertextCache(0);
    const { digest, fetched, fetch } = sealed(1, 100);
    await cache.get(digest, fetch);
    await cache.get(digest, fetch);
    expect(fetched.times).toBe(2);
  });

  test('remembers no failure, and one that asks beside a failed fetch decides by its own', async () => {
    const cache = new CiphertextCache(1_000);
    const { digest, fetched, fetch } = sealed(1, 100);
    const refused = cache.get(digest, async () => await Promise.reject(new Error('expired')));
    const beside = cache.get(digest, fetch);
    await expect(refused).rejects.toThrow('expired');
    expect((await beside).length).toBe(100);
    expect(fetched.times).toBe(1);
  });
});
