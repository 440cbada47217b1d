import { createServer, type AddressInfo } from 'node:net';
import { randomBytes } from 'node:crypto';
import { DecryptCommand, DisableKeyCommand, EnableKeyCommand, PutKeyPolicyCommand, ScheduleKeyDeletionCommand, type KMSClient } from '@aws-sdk/client-kms';
import fc from 'fast-check';
import { beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';

import type { AwsSettings } from '../../adapters/aws/call-aws.ts';
import { createSealer, createUnsealer } from '../../adapters/kms/envelope.ts';
import { openKms } from '../../adapters/kms/kms-client.ts';
import { createManifestSigner } from '../../adapters/kms/manifest-signer.ts';
import { createSellerKeys } from '../../adapters/kms/seller-keys.ts';
import { manifestMessage, verifyManifest } from '../../catalogue/manifest-signature.ts';
import type { SealContext } from '../../catalogue/seal-context.ts';
import { parseSellerId } from '../../schemas/ids.ts';
import { startLocalKms } from '../support/local-kms.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const context: SealContext = { seller: 'acme', kind: 'template', item: 'seo-agent', version: '1.0.0', digest: 'a'.repeat(64) };
const seller = parseSellerId('acme');
const plaintext = Buffer.from('a template that only its buyers read');
const integrity = { kind: 'subject', code: 'INTEGRITY_FAILED' };
const unusable = { kind: 'subject', code: 'KEY_UNUSABLE' };

let kms: KMSClient;
let wrappingKeyId: string;
beforeAll(async () => {
  kms = openKms(inject('stack').kms);
  wrappingKeyId = await createSellerKeys(kms).createWrappingKey(seller);
});

const seal = async (bytes: Uint8Array = plaintext, key = wrappingKeyId, using = kms) => await createSealer(using).seal({ wrappingKeyId: key, context, plaintext: bytes });
const unseal = async (ciphertext: Uint8Array, key = wrappingKeyId, using = kms) => await createUnsealer(using, key).unseal(ciphertext);

describe('a sealed release (B4)', () => {
  test.each([1, 65_504, 1_048_575, 1_048_576, 1_048_577, 3_145_728])('of %i bytes opens to every byte of it, under the context it was bound to', async (bytes) => {
    const whole = randomBytes(bytes);
    const { ciphertext } = await seal(whole);
    const opened = await unseal(ciphertext);
    expect(opened.plaintext.equals(whole)).toBe(true);
    expect(opened.context).toEqual(context);
  });

  test('is another each time, and shows nothing of what is in it', async () => {
    const [one, two] = [await seal(), await seal()];
    expect(one.ciphertext.equals(two.ciphertext)).toBe(false);
    expect(one.ciphertext.includes(plaintext.subarray(0, 10))).toBe(false);
  });

  test('carries the data key as the KMS wrapped it, which opens under this context alone (C4)', async () => {
    const { ciphertext, wrappedDataKey } = await seal();
    expect(ciphertext.includes(wrappedDataKey)).toBe(true);
    const decrypt = async (encryptionContext: Record<string, string>): Promise<number | undefined> =>
      (await kms.send(new DecryptCommand({ KeyId: wrappingKeyId, CiphertextBlob: wrappedDataKey, EncryptionContext: encryptionContext }))).Plaintext?.length;
    await expect(decrypt({ ...context })).resolves.toBe(32);
    await expect(decrypt({ ...context, version: '1.0.1' })).rejects.toThrow();
    await expect(decrypt({})).rejects.toThrow();
  });

  test('I11: does not open with the key of another seller, nor when it says that it is for that key', async () => {
    const other = await createSellerKeys(kms).createWrappingKey(parseSellerId('evil'));
    const { ciphertext } = await seal();
    await expect(unseal(ciphertext, other)).rejects.toMatchObject(integrity);
    const forged = Buffer.from(ciphertext);
    forged.write(other, forged.indexOf(wrappingKeyId), 'latin1');
    await expect(unseal(forged, other)).rejects.toMatchObject(integrity);
  });

  test('I11: does not open when its context is rewritten, though every other byte is right', async () => {
    const { ciphertext } = await seal();
    for (const [from, to] of [['seo-agent', 'evilagent'], ['1.0.0', '9.0.0'], ['acme', 'evil'], ['template', 'templato']] as const) {
      const forged = Buffer.from(ciphertext);
      forged.write(to, forged.indexOf(from), 'latin1');
      await expect(unseal(forged)).rejects.toMatchObject(integrity);
    }
  });

  test('B5: does not open with any byte altered, nor cut anywhere', async () => {
    const { ciphertext } = await seal();
    await fc.assert(fc.asyncProperty(fc.nat(ciphertext.length - 1), fc.integer({ min: 1, max: 255 }), async (at, by) => {
      const altered = Buffer.from(ciphertext);
      altered[at] = (altered[at] ?? 0) ^ by;
      await expect(unseal(altered)).rejects.toMatchObject({ kind: 'subject' });
      await expect(unseal(ciphertext.subarray(0, at))).rejects.toMatchObject(integrity);
    }), { numRuns: 40 });
  });

  test('does not open when it is something else', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('{}'), Buffer.alloc(5_000), randomBytes(5_000)]) {
      await expect(unseal(bytes)).rejects.toMatchObject(integrity);
    }
  });
});

describe('the signature of a manifest', () => {
  test('is one that every reader verifies with the seller\'s public key', async () => {
    const { keyId, publicKey } = await createSellerKeys(kms).createSigningKey(seller);
    const signature = await createManifestSigner(kms).sign({ signingKeyId: keyId, message: manifestMessage('{}') });
    // The signature holds; what was signed is no manifest.
    expect(() => verifyManifest('{}', signature, publicKey)).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID' }) as Error);
    expect(() => verifyManifest('{ }', signature, publicKey)).toThrow(expect.objectContaining({ code: 'INTEGRITY_FAILED' }) as Error);
  });
});

describe('a KMS that', () => {
  const open = (settings: AwsSettings): KMSClient => {
    const client = openKms(settings);
    onTestFinished(() => { client.destroy(); });
    return client;
  };
  const { kms: root } = inject('stack');

  test('has the key disabled or waiting for deletion concerns one seller, and opens again when it is enabled', async () => {
    const key = await createSellerKeys(kms).createWrappingKey(seller);
    const { ciphertext } = await seal(plaintext, key);
    await kms.send(new DisableKeyCommand({ KeyId: key }));
    await expect(unseal(ciphertext, key)).rejects.toMatchObject(unusable);
    await expect(seal(plaintext, key)).rejects.toMatchObject(unusable);
    await kms.send(new EnableKeyCommand({ KeyId: key }));
    await expect(unseal(ciphertext, key)).resolves.toMatchObject({ plaintext });
    await kms.send(new ScheduleKeyDeletionCommand({ KeyId: key, PendingWindowInDays: 7 }));
    await expect(unseal(ciphertext, key)).rejects.toMatchObject(unusable);
  });

  test('does not let us use a key concerns one seller', async () => {
    const local = await startLocalKms(temporaryFolder());
    const rootClient = local.client();
    const { accessKeyId, secretAccessKey, arn } = await local.user('unwrapper');
    const key = await createSellerKeys(rootClient).createWrappingKey(seller);
    const { ciphertext } = await seal(plaintext, key, rootClient);
    const unwrapper = open({ endpoint: local.endpoint, region: 'us-east-1', accessKeyId, secretAccessKey });
    await expect(unseal(ciphertext, key, unwrapper)).rejects.toMatchObject(unusable);
    const allow = (seller: string): string => JSON.stringify({ Version: '2012-10-17', Statement: [
      { Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::000000000000:root' }, Action: 'kms:*', Resource: '*' },
      { Effect: 'Allow', Principal: { AWS: arn }, Action: 'kms:Decrypt', Resource: '*', Condition: { StringEquals: { 'kms:EncryptionContext:seller': seller } } },
    ] });
    await rootClient.send(new PutKeyPolicyCommand({ KeyId: key, Policy: allow('acme') }));
    await expect(unseal(ciphertext, key, unwrapper)).resolves.toMatchObject({ plaintext });
    await rootClient.send(new PutKeyPolicyCommand({ KeyId: key, Policy: allow('evil') }));
    await expect(unseal(ciphertext, key, unwrapper)).rejects.toMatchObject(unusable);
  });

  test('throttles is asked again, and is a dependency that fails when it goes on', async () => {
    const local = await startLocalKms(temporaryFolder());
    const client = local.client();
    const key = await createSellerKeys(client).createWrappingKey(seller);
    const { ciphertext } = await seal(plaintext, key, client);
    for (const error of ['ThrottlingException', 'KMSInternalException', 'DependencyTimeoutException']) {
      await local.failNext({ operation: 'Decrypt', error, times: 2 });
      await expect(unseal(ciphertext, key, client)).resolves.toMatchObject({ plaintext });
      await local.failNext({ operation: 'Decrypt', error, times: 3 });
      await expect(unseal(ciphertext, key, client)).rejects.toMatchObject({ kind: 'dependency', code: 'UPSTREAM' });
    }
  });

  test('refuses our credentials is a dependency that fails: every release would', async () => {
    const { ciphertext } = await seal();
    await expect(unseal(ciphertext, wrappingKeyId, open({ ...root, secretAccessKey: 'wrong' }))).rejects.toMatchObject({ kind: 'dependency', code: 'UPSTREAM' });
    await expect(unseal(ciphertext, wrappingKeyId, open({ ...root, accessKeyId: 'AKIANOBODY' }))).rejects.toMatchObject({ kind: 'dependency', code: 'UPSTREAM' });
  });

  test('is not there, or takes the call and says nothing, is a dependency that fails within its deadline', async () => {
    const { ciphertext } = await seal();
    await expect(unseal(ciphertext, wrappingKeyId, open({ ...root, endpoint: 'http://127.0.0.1:1' }))).rejects.toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    onTestFinished(() => { silent.close(); });
    await new Promise((listening) => { silent.once('listening', listening); });
    const started = performance.now();
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`; // it listens on TCP
    await expect(unseal(ciphertext, wrappingKeyId, open({ ...root, endpoint }))).rejects.toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
    expect(performance.now() - started).toBeLessThan(8_000);
  });
});
