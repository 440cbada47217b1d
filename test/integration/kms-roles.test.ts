import { readFileSync } from 'node:fs';
import { DecryptCommand, GenerateDataKeyCommand, type KMS } from '@aws-sdk/client-kms';
import { expect, test } from 'vitest';

import { startLocalKms } from '../support/local-kms.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** The key policy of a seller under operations/iam, put on a key and enforced by the KMS that the local stack has. */
const template = readFileSync(new URL('../../operations/iam/seller-key.json', import.meta.url), 'utf8');
const context = { seller: 'acme', kind: 'template', item: 'seo-agent', version: '1.0.0', digest: 'a' };

test('B4, C3: a key of a seller makes data keys for the publisher and opens them for the unwrapper, of this seller alone, and for nobody else', async () => {
  const kms = await startLocalKms(temporaryFolder());
  const root = kms.client();
  const [front, unwrapper, publisher] = await Promise.all(['front', 'unwrapper', 'publisher'].map(async (name) => await kms.user(name)));
  if (front === undefined || unwrapper === undefined || publisher === undefined) throw new Error('no users');
  const { KeyMetadata } = await root.createKey({ KeySpec: 'SYMMETRIC_DEFAULT', KeyUsage: 'ENCRYPT_DECRYPT' });
  const keyId = KeyMetadata?.Arn ?? '';
  const owner = keyId.replace(/:kms:[^:]*:(?<account>\d+):.*/u, ':iam::$<account>:root');
  const policy = template.replace('OWNER_ARN', owner).replace('UNWRAPPER_ARN', unwrapper.arn).replace('PUBLISHER_ARN', publisher.arn).replaceAll('SELLER"', 'acme"');
  await root.putKeyPolicy({ KeyId: keyId, PolicyName: 'default', Policy: policy });

  const make = async (as: KMS, of: Record<string, string> = context) => await as.send(new GenerateDataKeyCommand({ KeyId: keyId, KeySpec: 'AES_256', EncryptionContext: of }));
  const open = async (as: KMS, blob: Uint8Array | undefined, of: Record<string, string> = context) => await as.send(new DecryptCommand({ KeyId: keyId, CiphertextBlob: blob, EncryptionContext: of }));
  const { CiphertextBlob: blob, Plaintext: made } = await make(kms.client(publisher));
  const { Plaintext: opened } = await open(kms.client(unwrapper), blob);
  expect(Buffer.from(opened ?? [])).toEqual(Buffer.from(made ?? []));

  const denied = { name: 'AccessDeniedException' };
  await expect(open(kms.client(publisher), blob)).rejects.toMatchObject(denied);
  await expect(make(kms.client(unwrapper))).rejects.toMatchObject(denied);
  await expect(open(kms.client(front), blob)).rejects.toMatchObject(denied);
  await expect(make(kms.client(front))).rejects.toMatchObject(denied);
  await expect(make(kms.client(publisher), { ...context, seller: 'other' })).rejects.toMatchObject(denied);
  await expect(open(kms.client(unwrapper), blob, { ...context, seller: 'other' })).rejects.toMatchObject(denied);
  await expect(open(kms.client(unwrapper), blob, { ...context, version: '2.0.0' })).rejects.toMatchObject({ name: 'InvalidCiphertextException' });
});
