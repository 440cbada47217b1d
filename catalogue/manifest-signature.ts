import { createPublicKey, verify } from 'node:crypto';

import { Failure } from '../process/failure.ts';
import { parseManifest, type ReleaseManifest } from './manifest.ts';
import { sha256 } from './sha256.ts';

/** What is signed begins so: a signature over anything else that this key may sign never passes for a manifest's. */
const domain = 'waybill release manifest v1\n';

/**
 * The message of a manifest's Ed25519 signature: the domain and the digest of the text. Short whatever the manifest's
 * length, because a KMS signs at most 4,096 bytes.
 */
export function manifestMessage(text: string): Buffer {
  return Buffer.from(`${domain}${sha256(text)}`, 'latin1');
}

/**
 * A stored manifest → what it says, if the seller signed exactly this text.
 * @param publicKey the seller's Ed25519 key as SPKI DER
 * @throws Failure subject INTEGRITY_FAILED when the signature is not the seller's, MANIFEST_INVALID when the text is not a manifest
 */
export function verifyManifest(text: string, signature: Uint8Array, publicKey: Uint8Array): ReleaseManifest {
  if (!isSignedBy(text, signature, publicKey)) {
    throw new Failure('subject', 'INTEGRITY_FAILED', 'The manifest of the release does not carry the signature of its seller');
  }
  return parseManifest(text);
}

function isSignedBy(text: string, signature: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
    return key.asymmetricKeyType === 'ed25519' && verify(null, manifestMessage(text), key, signature);
  } catch {
    return false; // bytes that are no key have signed nothing
  }
}
