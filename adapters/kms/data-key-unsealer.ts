import { buildClient, CommitmentPolicy, KeyringNode, KeyringTraceFlag, type EncryptedDataKey, type NodeDecryptionMaterial, type NodeEncryptionMaterial } from '@aws-crypto/client-node';

import type { Unsealer } from '../../delivery/unseal.ts';
import { Failure } from '../../process/failure.ts';
import { frameLength } from './frame-length.ts';

const sdk = buildClient({ commitmentPolicy: CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, maxEncryptedDataKeys: 1 });

/**
 * Opens a sealed release with its data key in hand: how a box does it, which has no KMS but a key that the broker wrapped to
 * it for this one fetch (C4). The key commitment of the message tells a wrong key; the context is in the message's own
 * header, authenticated by the same key.
 */
export function createDataKeyUnsealer(dataKey: Uint8Array): Unsealer {
  return {
    async unseal(ciphertext) {
      try {
        const { plaintext, messageHeader } = await sdk.decrypt(new KnownDataKey(dataKey), Buffer.from(ciphertext), { maxBodySize: frameLength });
        return { plaintext, context: { ...messageHeader.encryptionContext } };
      } catch (error) {
        throw new Failure('subject', 'INTEGRITY_FAILED', 'The sealed release does not open with the key that the broker gave for it', { cause: error });
      }
    },
  };
}

/** A keyring for one message whose data key is known: whatever stands in its header as the wrapped key is passed over. */
class KnownDataKey extends KeyringNode {
  readonly #dataKey: Uint8Array;

  constructor(dataKey: Uint8Array) {
    super();
    this.#dataKey = dataKey;
  }

  override async _onEncrypt(): Promise<NodeEncryptionMaterial> {
    throw new Error('this key is for opening alone');
  }

  override async _onDecrypt(material: NodeDecryptionMaterial, wrapped: EncryptedDataKey[]): Promise<NodeDecryptionMaterial> {
    if (wrapped.length !== 1) throw new Error(`a message with ${wrapped.length} data keys is none of ours`);
    // A copy: the SDK overwrites its own with zeros.
    const trace = { keyNamespace: 'waybill', keyName: 'granted', flags: KeyringTraceFlag.WRAPPING_KEY_DECRYPTED_DATA_KEY };
    return material.setUnencryptedDataKey(Uint8Array.from(this.#dataKey), trace);
  }
}
