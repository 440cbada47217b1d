import { Failure } from '../../process/failure.ts';
import type { Seller } from '../lookup.ts';
import { manifestMessage, verifyManifest } from '../manifest-signature.ts';
import { serializeManifest, type ReleaseManifest } from '../manifest.ts';

/** Ed25519 by the seller's key, which never leaves the KMS. Implemented by adapters/kms. */
export interface ManifestSigner {
  /** @throws Failure dependency UNAVAILABLE, UPSTREAM; subject KEY_UNUSABLE */
  sign(input: { readonly signingKeyId: string; readonly message: Uint8Array }): Promise<Uint8Array>;
}

export interface SignedManifest {
  /** The text that was signed; stored as it is. */
  readonly text: string;
  readonly signature: Uint8Array;
}

/**
 * Signs a manifest, and verifies it at once the way every delivery will: what would be refused there is not published.
 * @throws Failure as ManifestSigner; input INTEGRITY_FAILED when the key that signed is not the one the seller is registered with
 */
export async function signManifest(signer: ManifestSigner, seller: Seller, manifest: ReleaseManifest): Promise<SignedManifest> {
  const text = serializeManifest(manifest);
  const signature = await signer.sign({ signingKeyId: seller.signingKeyId, message: manifestMessage(text) });
  try {
    verifyManifest(text, signature, seller.signingPublicKey);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure('input', error.code, `The manifest of ${manifest.item_id} ${manifest.version} does not verify after signing: ${error.message}`, { cause: error });
  }
  return { text, signature };
}
