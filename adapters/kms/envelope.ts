import { AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, KmsKeyringNode } from '@aws-crypto/client-node';
import { DecryptCommand, GenerateDataKeyCommand, type KMSClient } from '@aws-sdk/client-kms';

import type { Sealer } from '../../catalogue/publish/seal.ts';
import type { Unsealer } from '../../delivery/unseal.ts';
import { Failure } from '../../process/failure.ts';
import { frameLength } from './frame-length.ts';
import { callKms } from './kms-client.ts';

/** Committing: a ciphertext opens to one plaintext only. Unsigned: the seller signs the manifest, which says more. */
const suiteId = AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY;
/** One seller, one wrapping key: a message with more data keys than one was not made here. */
const sdk = buildClient({ commitmentPolicy: CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, maxEncryptedDataKeys: 1 });

type KmsApi = ReturnType<NonNullable<ConstructorParameters<typeof KmsKeyringNode>[0]>['clientProvider'] & {}>;

/** Envelope encryption with the AWS Encryption SDK, the data key wrapped by the seller's key in the KMS (B4). */
export function createSealer(kms: KMSClient): Sealer {
  return {
    async seal({ wrappingKeyId, context, plaintext }) {
      const { clientProvider, run } = recordingKms(kms);
      const keyring = new KmsKeyringNode({ clientProvider, generatorKeyId: wrappingKeyId });
      const { result, messageHeader } = await run(sdk.encrypt(keyring, plaintext, { suiteId, frameLength, encryptionContext: { ...context } }));
      const [wrapped, ...others] = messageHeader.encryptedDataKeys;
      if (wrapped === undefined || others.length > 0) throw new Error('the Encryption SDK made a message without exactly one wrapped data key');
      return { ciphertext: result, wrappedDataKey: Buffer.from(wrapped.encryptedDataKey) };
    },
  };
}

/** The other way. Returns the context that the message was bound to; whether it is the right one is the caller's question. */
export function createUnsealer(kms: KMSClient, wrappingKeyId: string): Unsealer {
  return {
    async unseal(ciphertext) {
      const { clientProvider, run } = recordingKms(kms);
      const keyring = new KmsKeyringNode({ clientProvider, keyIds: [wrappingKeyId] });
      try {
        // maxBodySize bounds one frame: a forged header cannot make the SDK wait for more.
        const { plaintext, messageHeader } = await run(sdk.decrypt(keyring, ciphertext, { maxBodySize: frameLength }));
        return { plaintext, context: { ...messageHeader.encryptionContext } };
      } catch (error) {
        if (error instanceof Failure) throw error;
        // Whatever the SDK cannot read or verify is wrong with these bytes: the calls of the KMS have failures of their own.
        throw new Failure('subject', 'INTEGRITY_FAILED', 'The sealed release does not open with the key of its seller: it was altered or is another one', { cause: error });
      }
    },
  };
}

/**
 * The KMS as the Encryption SDK wants it. The SDK turns what the KMS said into the text of an error of its own, so the
 * first failure is kept and thrown in its place.
 */
function recordingKms(kms: KMSClient): { clientProvider: () => KmsApi; run: <T>(work: Promise<T>) => Promise<T> } {
  let failure: unknown;
  const record = async <T>(call: Promise<T>): Promise<T> => {
    try {
      return await call;
    } catch (error) {
      failure ??= error;
      throw error;
    }
  };
  const api: KmsApi = {
    generateDataKey: async (args) => {
      const answer = await record(callKms('GenerateDataKey', true, async (abort) => await kms.send(new GenerateDataKeyCommand(args), abort)));
      return { ...keyOf(answer), ...(answer.CiphertextBlob && { CiphertextBlob: answer.CiphertextBlob }) };
    },
    decrypt: async (args) => keyOf(await record(callKms('Decrypt', true, async (abort) => await kms.send(new DecryptCommand(args), abort)))),
    // Only for messages with several wrapped keys, which are not made here.
    encrypt: async () => await record(Promise.reject(new Error('KMS Encrypt is not used'))),
  };
  return {
    clientProvider: () => api,
    run: async (work) => {
      try {
        return await work;
      } catch (error) {
        throw failure instanceof Failure ? failure : error;
      }
    },
  };
}

/** The two SDKs disagree about what an absent field is. */
function keyOf({ KeyId, Plaintext }: { KeyId?: string | undefined; Plaintext?: Uint8Array | undefined }): { KeyId?: string; Plaintext?: Uint8Array } {
  return { ...(KeyId !== undefined && { KeyId }), ...(Plaintext !== undefined && { Plaintext }) };
}
