import { SignCommand, type KMSClient } from '@aws-sdk/client-kms';

import type { ManifestSigner } from '../../catalogue/publish/sign.ts';
import { callKms } from './kms-client.ts';

/** Ed25519 signatures by the seller's key in the KMS: the private half never leaves it. */
export function createManifestSigner(kms: KMSClient): ManifestSigner {
  return {
    async sign({ signingKeyId, message }) {
      const { Signature } = await callKms('Sign', true, async (abort) => await kms.send(
        new SignCommand({ KeyId: signingKeyId, Message: message, MessageType: 'RAW', SigningAlgorithm: 'ED25519_SHA_512' }), abort,
      ));
      if (Signature === undefined) throw new Error('KMS Sign answered without a signature');
      return Signature;
    },
  };
}
