import { createPublicKey, verify } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { buildClient, CommitmentPolicy, KmsKeyringNode } from '@aws-crypto/client-node';
import type { KMS } from '@aws-sdk/client-kms';
import { expect, test } from 'vitest';
import { startLocalKms } from '../support/local-kms.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const context = { seller: 'acme', item: 'seo-agent' };
const secret = new TextEncoder().encode('a secret of thirty-two bytes, ok');
const algorithm = 'ED25519_SHA_512';

type ClientSupplier = NonNullable<NonNullable<ConstructorParameters<typeof KmsKeyringNode>[0]>['clientProvider']>;

const named = (name: string): unknown => expect.objectContaining({ name });
// The SDK's answers say `| undefined` where the keyring's types say optional; under exactOptionalPropertyTypes those differ.
const supplierOf = (client: KMS): ClientSupplier => (() => client) as ClientSupplier;
const changed = (bytes: Uint8Array, at: number): Uint8Array => bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
const present = <T>(value: T | undefined): T => {
  if (value === undefined) throw new Error('The KMS left out a field that it always answers.');
  return value;
};

test('the AWS Encryption SDK encrypts and decrypts through the local KMS, and another context or a wrong key opens nothing', async () => {
  const kms = await startLocalKms(temporaryFolder());
  const client = kms.client();
  const arn = present((await client.createKey({})).KeyMetadata?.Arn);
  const other = present((await client.createKey({})).KeyMetadata?.Arn);
  const { encrypt, decrypt } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
  const keyring = new KmsKeyringNode({ generatorKeyId: arn, keyIds: [other], clientProvider: supplierOf(client) });
  const { result } = await encrypt(keyring, secret, { encryptionContext: context, frameLength: 1024 });

  const opened = await decrypt(keyring, result);
  expect(opened.plaintext).toEqual(Buffer.from(secret));
  expect(opened.messageHeader.encryptionContext).toMatchObject(context);

  // Either key alone is enough, a third is not.
  expect((await decrypt(new KmsKeyringNode({ keyIds: [other], clientProvider: supplierOf(client) }), result)).plaintext).toEqual(Buffer.from(secret));
  const third = present((await client.createKey({})).KeyMetadata?.Arn);
  await expect(decrypt(new KmsKeyringNode({ keyIds: [third], clientProvider: supplierOf(client) }), result)).rejects.toThrow();

  // The context stands in the message; altering it there breaks the data key.
  const altered = Buffer.from(result);
  altered.write('acmf', altered.indexOf('acme'));
  await expect(decrypt(keyring, altered)).rejects.toThrow();
});

test('a blob opens only under its key, its context and unaltered', async () => {
  const kms = await startLocalKms(temporaryFolder());
  const client = kms.client();
  const [one, two] = [present((await client.createKey({})).KeyMetadata?.KeyId), present((await client.createKey({})).KeyMetadata?.KeyId)];
  const blob = present((await client.encrypt({ KeyId: one, Plaintext: secret, EncryptionContext: context })).CiphertextBlob);

  // The order of names does not matter.
  expect((await client.decrypt({ CiphertextBlob: blob, EncryptionContext: { item: 'seo-agent', seller: 'acme' } })).Plaintext).toEqual(secret);
  for (const wrong of [{ ...context, seller: 'evil' }, { seller: 'acme' }, { ...context, more: '' }, undefined]) {
    await expect(client.decrypt({ CiphertextBlob: blob, ...(wrong === undefined ? {} : { EncryptionContext: wrong }) })).rejects.toEqual(named('InvalidCiphertextException'));
  }
  await expect(client.decrypt({ KeyId: two, CiphertextBlob: blob, EncryptionContext: context })).rejects.toEqual(named('IncorrectKeyException'));

  const answers = await Promise.all(
    [...blob.keys()].map(async (at) => await client.decrypt({ CiphertextBlob: changed(blob, at), EncryptionContext: context }).then(() => 'opened', (error: unknown) => (error instanceof Error ? error.name : 'unknown'))),
  );
  expect(answers).not.toContain('opened');
  // All but the 36 bytes of the key's name, which make it another, unknown key.
  expect(answers.filter((name) => name === 'InvalidCiphertextException')).toHaveLength(blob.length - 36);
  expect(answers.filter((name) => name === 'AccessDeniedException')).toHaveLength(36);
  await expect(client.decrypt({ CiphertextBlob: blob.subarray(0, 20), EncryptionContext: context })).rejects.toEqual(named('InvalidCiphertextException'));
});

test('a data key is 32 fresh bytes, and its blob gives the same bytes back', async () => {
  const kms = await startLocalKms(temporaryFolder());
  const client = kms.client();
  const KeyId = present((await client.createKey({})).KeyMetadata?.KeyId);
  const one = await client.generateDataKey({ KeyId, KeySpec: 'AES_256', EncryptionContext: context });
  const two = await client.generateDataKey({ KeyId, NumberOfBytes: 32, EncryptionContext: context });
  expect(one.Plaintext).toHaveLength(32);
  expect(one.Plaintext).not.toEqual(two.Plaintext);
  expect((await client.decrypt({ CiphertextBlob: one.CiphertextBlob, EncryptionContext: context })).Plaintext).toEqual(one.Plaintext);
  await expect(client.generateDataKey({ KeyId, EncryptionContext: context })).rejects.toEqual(named('ValidationException'));
});

test('a disabled key and one that waits for its deletion open nothing, and work again when they are enabled', async () => {
  const kms = await startLocalKms(temporaryFolder());
  const client = kms.client();
  const KeyId = present((await client.createKey({})).KeyMetadata?.KeyId);
  const { CiphertextBlob } = await client.encrypt({ KeyId, Plaintext: secret });

  await client.disableKey({ KeyId });
  await expect(client.decrypt({ CiphertextBlob })).rejects.toEqual(named('DisabledException'));
  await expect(client.generateDataKey({ KeyId, KeySpec: 'AES_256' })).rejects.toEqual(named('DisabledException'));
  await client.enableKey({ KeyId });
  await client.decrypt({ CiphertextBlob });

  await expect(client.scheduleKeyDeletion({ KeyId, PendingWindowInDays: 6 })).rejects.toEqual(named('ValidationException'));
  const { DeletionDate } = await client.scheduleKeyDeletion({ KeyId, PendingWindowInDays: 7 });
  expect(present(DeletionDate).getTime()).toBeGreaterThan(Date.now() + 6.9 * 86_400_000);
  await expect(client.decrypt({ CiphertextBlob })).rejects.toEqual(named('KMSInvalidStateException'));
  await expect(client.enableKey({ KeyId })).rejects.toEqual(named('KMSInvalidStateException'));
  expect((await client.describeKey({ KeyId })).KeyMetadata).toMatchObject({ KeyState: 'PendingDeletion', Enabled: false });

  await client.cancelKeyDeletion({ KeyId });
  await expect(client.decrypt({ CiphertextBlob })).rejects.toEqual(named('DisabledException'));
  await client.enableKey({ KeyId });
  expect((await client.decrypt({ CiphertextBlob })).Plaintext).toEqual(secret);
});

test('an Ed25519 key signs up to 4,096 raw bytes, and its public key verifies elsewhere', async () => {
  const kms = await startLocalKms(temporaryFolder());
  const client = kms.client();
  const { KeyMetadata } = await client.createKey({ KeySpec: 'ECC_NIST_EDWARDS25519', KeyUsage: 'SIGN_VERIFY' });
  const KeyId = present(KeyMetadata?.KeyId);
  const Message = new Uint8Array(4_096).fill(7);
  const { Signature } = await client.sign({ KeyId, Message, MessageType: 'RAW', SigningAlgorithm: algorithm });
  const { PublicKey, SigningAlgorithms } = await client.getPublicKey({ KeyId });
  expect(SigningAlgorithms).toEqual([algorithm]);
  const key = createPublicKey({ key: Buffer.from(present(PublicKey)), format: 'der', type: 'spki' });
  expect(verify(null, Message, key, present(Signature))).toBe(true);
  expect(verify(null, changed(Message, 0), key, present(Signature))).toBe(false);

  const sign = { KeyId, Message, MessageType: 'RAW', SigningAlgorithm: algorithm } as const;
  await expect(client.sign({ ...sign, Message: new Uint8Array(4_097) })).rejects.toEqual(named('ValidationException'));
  await expect(client.sign({ ...sign, MessageType: 'DIGEST' })).rejects.toEqual(named('ValidationException'));
  await expect(client.sign({ ...sign, SigningAlgorithm: 'ECDSA_SHA_256' })).rejects.toEqual(named('ValidationException'));
  await expect(client.encrypt({ KeyId, Plaintext: secret })).rejects.toEqual(named('InvalidKeyUsageException'));
  await client.disableKey({ KeyId });
  await expect(client.sign(sign)).rejects.toEqual(named('DisabledException'));
});

test("a key policy lets a caller unwrap under its own seller's context alone, and a denial wins", async () => {
  const kms = await startLocalKms(temporaryFolder());
  const client = kms.client();
  const [worker, publisher, stranger] = await Promise.all(['worker', 'publisher', 'stranger'].map(async (name) => await kms.user(name)));
  const root = { Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::000000000000:root' }, Action: 'kms:*', Resource: '*' };
  const ofSeller = { StringEquals: { 'kms:EncryptionContext:seller': 'acme' } };
  const statements = [
    root,
    { Effect: 'Allow', Principal: { AWS: worker?.arn }, Action: 'kms:Decrypt', Resource: '*', Condition: ofSeller },
    { Effect: 'Allow', Principal: { AWS: [publisher?.arn] }, Action: ['kms:GenerateDataKey*', 'kms:Encrypt'], Resource: '*', Condition: ofSeller },
  ];
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement: statements });
  const KeyId = present((await client.createKey({ Policy })).KeyMetadata?.KeyId);
  expect((await client.getKeyPolicy({ KeyId })).Policy).toBe(Policy);

  const { CiphertextBlob } = await kms.client(publisher).generateDataKey({ KeyId, KeySpec: 'AES_256', EncryptionContext: context });
  await kms.client(worker).decrypt({ CiphertextBlob, EncryptionContext: context });
  const evil = { seller: 'evil' };
  const foreign = await client.encrypt({ KeyId, Plaintext: secret, EncryptionContext: evil });
  const refused = [
    async () => await kms.client(worker).decrypt({ CiphertextBlob: foreign.CiphertextBlob, EncryptionContext: evil }),
    async () => await kms.client(worker).decrypt({ CiphertextBlob: foreign.CiphertextBlob }),
    async () => await kms.client(worker).encrypt({ KeyId, Plaintext: secret, EncryptionContext: context }),
    async () => await kms.client(publisher).decrypt({ CiphertextBlob, EncryptionContext: context }),
    async () => await kms.client(stranger).decrypt({ CiphertextBlob, EncryptionContext: context }),
    async () => await kms.client(stranger).createKey({}),
    async () => await kms.client(worker).putKeyPolicy({ KeyId, Policy }),
  ];
  for (const call of refused) await expect(call()).rejects.toEqual(named('AccessDeniedException'));

  await client.putKeyPolicy({ KeyId, Policy: JSON.stringify({ Statement: [...statements, { Effect: 'Deny', Principal: '*', Action: 'kms:Decrypt', Resource: '*' }] }) });
  await expect(kms.client(worker).decrypt({ CiphertextBlob, EncryptionContext: context })).rejects.toEqual(named('AccessDeniedException'));
});

test('a policy that the local KMS could not enforce, or that locks its author out, is refused', async () => {
  const kms = await startLocalKms(temporaryFolder());
  const client = kms.client();
  const KeyId = present((await client.createKey({})).KeyMetadata?.KeyId);
  const root = { Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::000000000000:root' }, Action: 'kms:*', Resource: '*' };
  const refused = [
    { Statement: [{ ...root, Condition: { StringLike: { 'kms:EncryptionContext:seller': 'a*' } } }] },
    { Statement: [{ ...root, Condition: { StringEquals: { 'aws:SourceIp': '127.0.0.1' } } }] },
    { Statement: [{ ...root, NotAction: 'kms:Decrypt' }] },
    { Statement: [{ ...root, Principal: { AWS: 'arn:aws:iam::000000000000:user/somebody' } }] },
    { Statement: [] },
  ];
  for (const policy of refused) await expect(client.putKeyPolicy({ KeyId, Policy: JSON.stringify(policy) })).rejects.toEqual(named('MalformedPolicyDocumentException'));
  await expect(client.encrypt({ KeyId, Plaintext: secret, GrantTokens: ['a grant'] })).rejects.toEqual(named('ValidationException'));
});

test('keys go by id, ARN, alias and alias ARN; an alias is given once; what is unknown is not found', async () => {
  const kms = await startLocalKms(temporaryFolder());
  const client = kms.client();
  const { KeyId, Arn } = present((await client.createKey({ Description: 'of acme' })).KeyMetadata);
  await client.createAlias({ AliasName: 'alias/seller/acme', TargetKeyId: KeyId });
  for (const name of [KeyId, Arn, 'alias/seller/acme', 'arn:aws:kms:us-east-1:000000000000:alias/seller/acme']) {
    expect((await client.describeKey({ KeyId: name })).KeyMetadata).toMatchObject({ KeyId, Description: 'of acme' });
  }
  await expect(client.createAlias({ AliasName: 'alias/seller/acme', TargetKeyId: KeyId })).rejects.toEqual(named('AlreadyExistsException'));
  await expect(client.createAlias({ AliasName: 'seller', TargetKeyId: KeyId })).rejects.toEqual(named('InvalidAliasNameException'));
  for (const name of ['alias/nobody', '6f1c7a3e-1f5e-4a53-9a8f-0d1b1c6f9c11']) await expect(client.describeKey({ KeyId: name })).rejects.toEqual(named('NotFoundException'));
});

test('an unsigned, foreign or altered request is refused before anything else', async () => {
  const kms = await startLocalKms(temporaryFolder());
  const root = kms.client();
  const KeyId = present((await root.createKey({})).KeyMetadata?.KeyId);
  const user = await kms.user('worker');
  await expect(kms.client({ ...user, secretAccessKey: 'guessed' }).describeKey({ KeyId })).rejects.toEqual(named('InvalidSignatureException'));
  await expect(kms.client({ ...user, accessKeyId: 'AKIANOBODY' }).describeKey({ KeyId })).rejects.toEqual(named('UnrecognizedClientException'));
  await expect(kms.client(undefined, { region: 'eu-west-1' }).describeKey({ KeyId })).rejects.toEqual(named('InvalidSignatureException'));

  const altering = kms.client();
  altering.middlewareStack.add(
    (next) => async (args) => {
      if (typeof args.request === 'object' && args.request !== null) Object.assign(args.request, { body: JSON.stringify({ KeyId: '0'.repeat(36) }) });
      return await next(args);
    },
    { step: 'finalizeRequest', priority: 'low', name: 'alterAfterSigning' },
  );
  await expect(altering.describeKey({ KeyId })).rejects.toEqual(named('InvalidSignatureException'));

  const unsigned = await fetch(kms.endpoint, { method: 'POST', headers: { 'x-amz-target': 'TrentService.DescribeKey' }, body: JSON.stringify({ KeyId }) });
  expect(unsigned.status).toBe(400);
  expect(await unsigned.json()).toMatchObject({ __type: 'MissingAuthenticationTokenException' });
  const control = await fetch(`${kms.endpoint}/_waybill/callers/intruder`, { method: 'PUT' });
  expect(control.status).toBe(403);
});

test('it throttles and fails on demand, as often as it was told', async () => {
  const kms = await startLocalKms(temporaryFolder());
  const once = kms.client();
  const KeyId = present((await once.createKey({})).KeyMetadata?.KeyId);
  await kms.failNext({ operation: 'Encrypt', error: 'ThrottlingException', times: 2 });
  await once.describeKey({ KeyId });
  await expect(once.encrypt({ KeyId, Plaintext: secret })).rejects.toEqual(named('ThrottlingException'));
  // The client's own retry meets the second, and then gets through.
  await kms.client(undefined, { maxAttempts: 2 }).encrypt({ KeyId, Plaintext: secret });
  await kms.failNext({ error: 'KMSInternalException' });
  await expect(once.describeKey({ KeyId })).rejects.toMatchObject({ name: 'KMSInternalException', $metadata: { httpStatusCode: 500 } });
  await once.describeKey({ KeyId });
});

test('kill -9 loses no key, state, alias, policy or caller, and nobody else may read them', async () => {
  const folder = temporaryFolder();
  const kms = await startLocalKms(folder);
  const before = kms.client();
  const user = await kms.user('worker');
  const { KeyId, Arn } = present((await before.createKey({})).KeyMetadata);
  const disabled = present((await before.createKey({ KeySpec: 'ECC_NIST_EDWARDS25519', KeyUsage: 'SIGN_VERIFY' })).KeyMetadata?.KeyId);
  await before.createAlias({ AliasName: 'alias/acme', TargetKeyId: KeyId });
  const { PublicKey } = await before.getPublicKey({ KeyId: disabled });
  const Policy = JSON.stringify({
    Statement: [
      { Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::000000000000:root' }, Action: 'kms:*', Resource: '*' },
      { Effect: 'Allow', Principal: { AWS: user.arn }, Action: 'kms:Decrypt', Resource: '*' },
    ],
  });
  await before.putKeyPolicy({ KeyId, Policy });
  const { CiphertextBlob } = await before.encrypt({ KeyId, Plaintext: secret, EncryptionContext: context });
  await before.disableKey({ KeyId: disabled });
  process.kill(kms.service.pid, 'SIGKILL');
  await kms.restart();

  const after = kms.client();
  expect((await after.describeKey({ KeyId: 'alias/acme' })).KeyMetadata?.Arn).toBe(Arn);
  expect((await kms.client(user).decrypt({ CiphertextBlob, EncryptionContext: context })).Plaintext).toEqual(secret);
  await expect(after.getPublicKey({ KeyId: disabled })).rejects.toEqual(named('DisabledException'));
  await after.enableKey({ KeyId: disabled });
  expect((await after.getPublicKey({ KeyId: disabled })).PublicKey).toEqual(PublicKey);

  const store = join(folder, 'kms');
  const files = readdirSync(store, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(files.length).toBeGreaterThanOrEqual(5);
  for (const file of files) expect(statSync(join(file.parentPath, file.name)).mode & 0o077).toBe(0);
});
