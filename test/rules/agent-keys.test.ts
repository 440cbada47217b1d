import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompactEncrypt, EmbeddedJWK, generateKeyPair, jwtVerify } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { AgentClock } from '../../agent/agent-clock.ts';
import { AgentFiles } from '../../agent/agent-files.ts';
import { loadAgentKeys } from '../../agent/agent-keys.ts';
import { openDataKey } from '../../agent/data-key.ts';
import { dpopProof } from '../../agent/dpop.ts';
import { hasRunOut, newerLease, verifyLease } from '../../agent/lease.ts';
import { parseSha256, parseWorkspaceId } from '../../schemas/ids.ts';

let volume: string;
beforeEach(() => { volume = mkdtempSync(join(tmpdir(), 'waybill-agent-')); });
afterEach(() => { rmSync(volume, { recursive: true, force: true }); });

const workspaceId = parseWorkspaceId('5f0c1a52-8a3e-4c57-9d55-0d5f7c1e2b11');
const digest = parseSha256('a'.repeat(64));
const context = { seller: 'acme', kind: 'template', item: 'seo-agent', version: '1.2.0', digest };

describe('the keys of a box', () => {
  test('are made once, on the volume, for nobody else to read; the public halves are told apart', async () => {
    const files = new AgentFiles(volume);
    const first = await loadAgentKeys(files);
    const again = await loadAgentKeys(new AgentFiles(volume));
    expect(again.signing.thumbprint).toBe(first.signing.thumbprint);
    expect(again.encryption.thumbprint).toBe(first.encryption.thumbprint);
    expect(statSync(join(volume, '.waybill/agent')).mode & 0o777).toBe(0o700);
    expect(statSync(join(volume, '.waybill/agent/keys.json')).mode & 0o777).toBe(0o600);
    const shown = readFileSync(join(volume, '.waybill/agent/public-keys.json'), 'utf8');
    expect(JSON.parse(shown)).toMatchObject({ signing_thumbprint: first.signing.thumbprint, encryption_thumbprint: first.encryption.thumbprint });
    expect(shown).not.toContain('"d"');
  });

  test('are not made where the volume is not mounted', () => {
    expect(() => new AgentFiles(join(volume, 'unmounted'))).toThrow(expect.objectContaining({ kind: 'subject', code: 'VOLUME_UNWRITABLE' }) as Error);
  });

  test('of two that start at once, both have the keys of one', async () => {
    const [one, other] = await Promise.all([loadAgentKeys(new AgentFiles(volume)), loadAgentKeys(new AgentFiles(volume))]);
    expect(one.signing.thumbprint).toBe(other.signing.thumbprint);
    expect(one.encryption.thumbprint).toBe(other.encryption.thumbprint);
  });

  test('a file that holds none is said so, and not written over', async () => {
    const files = new AgentFiles(volume);
    writeFileSync(join(volume, '.waybill/agent/keys.json'), '{"signing":{}}');
    await expect(loadAgentKeys(files)).rejects.toMatchObject({ kind: 'input', code: 'CONFIG_INVALID' });
    expect(readFileSync(join(volume, '.waybill/agent/keys.json'), 'utf8')).toBe('{"signing":{}}');
  });

  test('sign each request anew: method, URL without query, token and time are in the proof (C3)', async () => {
    const keys = await loadAgentKeys(new AgentFiles(volume));
    const url = new URL('https://broker.example/v1/workspaces/w/wanted?folders=1');
    const proofs = await Promise.all([1, 2].map(async () => await dpopProof(keys, 'GET', url, 'token', Date.UTC(2026, 0, 1))));
    const read = await Promise.all(proofs.map(async (proof) => await jwtVerify(proof, EmbeddedJWK, { typ: 'dpop+jwt', algorithms: ['EdDSA'] })));
    expect(read[0]?.payload).toMatchObject({ htm: 'GET', htu: 'https://broker.example/v1/workspaces/w/wanted', iat: Date.UTC(2026, 0, 1) / 1000 });
    expect(read[0]?.payload.jti).not.toBe(read[1]?.payload.jti);
    expect(JSON.stringify(read[0]?.protectedHeader)).not.toContain('"d"');
  });
});

describe('a data key', () => {
  const wrapped = async (to: Parameters<CompactEncrypt['encrypt']>[0], change: object = {}, header: object = {}): Promise<string> => {
    const content = { format: 1, workspace_id: workspaceId, attempt: 7, ciphertext_sha256: digest, key: Buffer.alloc(32, 3).toString('base64'), context, ...change };
    return await new CompactEncrypt(Buffer.from(JSON.stringify(content))).setProtectedHeader({ alg: 'ECDH-ES+A256KW', enc: 'A256GCM', ...header }).encrypt(to);
  };
  const binding = { workspaceId, attempt: 7, ciphertextSha256: digest, context };
  const publicKey = async () => {
    const keys = await loadAgentKeys(new AgentFiles(volume));
    return { keys, to: keys.encryption.publicJwk };
  };

  test('opens for the workspace, attempt and release that it was wrapped for (C4)', async () => {
    const { keys, to } = await publicKey();
    expect(await openDataKey(await wrapped(to), keys.encryption.key, binding)).toEqual(Buffer.alloc(32, 3));
  });

  test.for([
    { what: 'another workspace', change: { workspace_id: '00000000-0000-4000-8000-000000000001' } },
    { what: 'another attempt', change: { attempt: 8 } },
    { what: 'another object', change: { ciphertext_sha256: 'b'.repeat(64) } },
    { what: "another seller's context", change: { context: { ...context, seller: 'rival' } } },
    { what: 'a context with more in it', change: { context: { ...context, more: 'x' } } },
    { what: 'a shorter key', change: { key: Buffer.alloc(16).toString('base64') } },
    { what: 'another format', change: { format: 2 } },
  ])('of $what is refused, and its message holds no key (C4, I11)', async ({ change }) => {
    const { keys, to } = await publicKey();
    const opened = openDataKey(await wrapped(to, change), keys.encryption.key, binding);
    await expect(opened).rejects.toMatchObject({ code: 'INTEGRITY_FAILED' });
    await expect(opened).rejects.not.toThrow(Buffer.alloc(32, 3).toString('base64'));
  });

  test('wrapped to another key does not open', async () => {
    const { keys } = await publicKey();
    const other = await generateKeyPair('ECDH-ES+A256KW', { crv: 'X25519' });
    await expect(openDataKey(await wrapped(other.publicKey), keys.encryption.key, binding)).rejects.toMatchObject({ code: 'INTEGRITY_FAILED' });
  });

  test('in another cipher than the one of the protocol does not open', async () => {
    const { keys, to } = await publicKey();
    await expect(openDataKey(await wrapped(to, {}, { enc: 'A128CBC-HS256' }), keys.encryption.key, binding)).rejects.toMatchObject({ code: 'INTEGRITY_FAILED' });
  });
});

describe('a lease', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const leaseKeys = new Map([['k1', publicKey.export({ format: 'der', type: 'spki' })]]);
  const seconds = Date.UTC(2026, 0, 1) / 1000;
  const claims = { iss: 'waybill', sub: workspaceId, org: '0b9e4a04-7d8c-4f0e-a4f7-3a2a1a6f0c55', iat: seconds, exp: seconds + 86_400, items: [{ item_id: 'seo-agent', version: '1.2.0', access: 'sold' }] };
  const signed = (change: object = {}, header: object = {}): string => {
    const parts = [{ alg: 'EdDSA', typ: 'waybill-lease+jwt', kid: 'k1', ...header }, { ...claims, ...change }].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    return `${parts}.${sign(null, Buffer.from(parts), privateKey).toString('base64url')}`;
  };

  test('of this workspace, signed by a key of the list, is read', async () => {
    const lease = await verifyLease(signed(), workspaceId, leaseKeys);
    expect(lease.items).toEqual(claims.items);
    expect(hasRunOut(lease, seconds * 1000)).toBe(false);
    expect(hasRunOut(lease, (seconds + 86_400) * 1000 - 1)).toBe(false);
    expect(hasRunOut(lease, (seconds + 86_400) * 1000)).toBe(true);
    expect(hasRunOut(undefined, 0)).toBe(true);
  });

  test.for([
    { what: 'another workspace', jws: () => signed({ sub: '00000000-0000-4000-8000-000000000001' }) },
    { what: 'another kind of token', jws: () => signed({}, { typ: 'JWT' }) },
    { what: 'a key that is not on the list', jws: () => signed({}, { kid: 'k2' }) },
    { what: 'no key', jws: () => signed({}, { kid: undefined }) },
    { what: 'a changed end', jws: () => {
      const [header, , signature] = signed().split('.');
      return `${header}.${Buffer.from(JSON.stringify({ ...claims, exp: seconds + 9_999_999 })).toString('base64url')}.${signature}`;
    } },
    { what: 'another algorithm', jws: () => signed({}, { alg: 'HS256' }) },
    { what: 'no signature at all', jws: () => signed({}, { alg: 'none' }) },
    { what: 'no time', jws: () => signed({ exp: undefined }) },
    { what: 'words', jws: () => 'no lease' },
  ])('with $what is refused', async ({ jws }) => {
    await expect(verifyLease(jws(), workspaceId, leaseKeys)).rejects.toMatchObject({ code: 'INTEGRITY_FAILED' });
  });

  test('that is older than the one kept does not take its place', async () => {
    const [kept, older] = await Promise.all([verifyLease(signed(), workspaceId, leaseKeys), verifyLease(signed({ iat: seconds - 1 }), workspaceId, leaseKeys)]);
    expect(newerLease(kept, older)).toBe(false);
    expect(newerLease(kept, kept)).toBe(true);
    expect(newerLease(undefined, older)).toBe(true);
  });
});

describe('the clock of leases', () => {
  test('a machine whose clock is set back gains nothing: the broker was heard later (I21)', () => {
    let [now, monotonic] = [1_000_000, 0];
    const clock = new AgentClock(() => now, () => monotonic);
    expect(clock.latestMs()).toBe(1_000_000);
    clock.hear(5_000_000);
    monotonic += 60_000;
    now = 500;
    expect(clock.nowMs()).toBe(5_060_000);
    expect(clock.latestMs()).toBe(5_060_000);
    now = 9_000_000;
    expect(clock.latestMs()).toBe(9_000_000);
    clock.hear(Number.NaN);
    expect(clock.nowMs()).toBe(5_060_000);
  });
});
