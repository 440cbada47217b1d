import { compressArchive } from '../compression.ts';
import type { ReleaseLimits } from '../limits.ts';
import type { ReleaseManifest } from '../manifest.ts';
import { sealContext, type SealContext } from '../seal-context.ts';
import { sha256 } from '../sha256.ts';
import type { Sha256 } from '../../schemas/ids.ts';

/** Envelope encryption: a new data key for every message, wrapped by the seller's key. Implemented by adapters/kms. */
export interface Sealer {
  /** @throws Failure dependency UNAVAILABLE, UPSTREAM; subject KEY_UNUSABLE */
  seal(input: { readonly wrappingKeyId: string; readonly context: SealContext; readonly plaintext: Uint8Array }): Promise<{
    readonly ciphertext: Buffer;
    /** The data key as the KMS wrapped it; it is in the ciphertext too. */
    readonly wrappedDataKey: Buffer;
  }>;
}

/** A release as it goes into the store. */
export interface SealedArchive {
  readonly objectKey: string;
  readonly ciphertext: Buffer;
  readonly ciphertextSha256: Sha256;
  readonly wrappedDataKey: Buffer;
  /** Bytes after compression, before encryption. */
  readonly packedBytes: number;
}

/** Archive → compressed, encrypted and named by the digest of the ciphertext (B4). @throws Failure input TOO_LARGE; and as Sealer */
export async function sealArchive(
  sealer: Sealer, wrappingKeyId: string, manifest: ReleaseManifest, archive: Uint8Array, limits: ReleaseLimits,
): Promise<SealedArchive> {
  const packed = await compressArchive(archive, limits);
  const { ciphertext, wrappedDataKey } = await sealer.seal({ wrappingKeyId, context: sealContext(manifest), plaintext: packed });
  const ciphertextSha256 = sha256(ciphertext);
  const { seller_id: seller, item_id: item, version } = manifest;
  return { objectKey: `releases/${seller}/${item}/${version}/${ciphertextSha256}`, ciphertext, ciphertextSha256, wrappedDataKey, packedBytes: packed.length };
}
