import { DecryptCommand, type KMSClient } from '@aws-sdk/client-kms';

import type { DataKeyUnwrapper } from '../../delivery/box/fetches.ts';
import { callKms } from './kms-client.ts';

/** `kms:Decrypt` of one data key by its seller's key, under the context that it was wrapped with (B4, C4). */
export function createDataKeyUnwrapper(kms: KMSClient): DataKeyUnwrapper {
  return {
    async unwrap({ wrappingKeyId, wrappedDataKey, context }) {
      const { Plaintext } = await callKms('Decrypt', true, async (abort) => await kms.send(
        // KeyId: without it the KMS would open whatever key the blob names.
        new DecryptCommand({ KeyId: wrappingKeyId, CiphertextBlob: wrappedDataKey, EncryptionContext: { ...context } }), abort,
      ));
      if (Plaintext === undefined) throw new Error('KMS Decrypt answered without a key');
      return Buffer.from(Plaintext.buffer, Plaintext.byteOffset, Plaintext.byteLength);
    },
  };
}
