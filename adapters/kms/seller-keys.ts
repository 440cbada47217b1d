import { CreateKeyCommand, GetPublicKeyCommand, ScheduleKeyDeletionCommand, type CreateKeyCommandInput, type KMSClient } from '@aws-sdk/client-kms';

import type { SellerKeys } from '../../catalogue/publish/seller.ts';
import { callKms } from './kms-client.ts';

/** Shortest time that the KMS lets a key wait for its deletion. */
const pendingDays = 7;

/** The two keys of a seller in the KMS. Key ids are ARNs: the Encryption SDK writes the ARN into every message. */
export function createSellerKeys(kms: KMSClient): SellerKeys {
  const createKey = async (input: CreateKeyCommandInput): Promise<string> => {
    const { KeyMetadata } = await callKms('CreateKey', false, async (abort) => await kms.send(new CreateKeyCommand(input), abort));
    if (KeyMetadata?.Arn === undefined) throw new Error('KMS CreateKey answered without an ARN');
    return KeyMetadata.Arn;
  };
  return {
    async createWrappingKey(sellerId) {
      return await createKey({ KeySpec: 'SYMMETRIC_DEFAULT', KeyUsage: 'ENCRYPT_DECRYPT', Description: `waybill: wraps the data keys of seller ${sellerId}` });
    },
    async createSigningKey(sellerId) {
      const keyId = await createKey({ KeySpec: 'ECC_NIST_EDWARDS25519', KeyUsage: 'SIGN_VERIFY', Description: `waybill: signs the manifests of seller ${sellerId}` });
      const { PublicKey } = await callKms('GetPublicKey', true, async (abort) => await kms.send(new GetPublicKeyCommand({ KeyId: keyId }), abort));
      if (PublicKey === undefined) throw new Error('KMS GetPublicKey answered without a key');
      return { keyId, publicKey: PublicKey };
    },
    async discard(keyId) {
      await callKms('ScheduleKeyDeletion', false, async (abort) => await kms.send(new ScheduleKeyDeletionCommand({ KeyId: keyId, PendingWindowInDays: pendingDays }), abort));
    },
  };
}
