import { fileInArchive } from '../catalogue/archive.ts';
import { expandArchive } from '../catalogue/compression.ts';
import type { ReleaseLimits } from '../catalogue/limits.ts';
import type { SealedRelease } from '../catalogue/lookup.ts';
import type { ReleaseManifest } from '../catalogue/manifest.ts';
import { isSameContext, sealContext } from '../catalogue/seal-context.ts';
import { sha256 } from '../catalogue/sha256.ts';
import { checkConfig, configFile } from '../catalogue/template-config.ts';
import { Failure } from '../process/failure.ts';
import { verifiedManifest } from './verified-manifests.ts';

/** Opens what a Sealer closed, with one key: the seller's in the KMS, or the data key that a box was granted. Implemented by adapters/kms. */
export interface Unsealer {
  /**
   * @returns the plaintext and the context that the message was bound to
   * @throws Failure subject INTEGRITY_FAILED (altered, or not sealed with this key), KEY_UNUSABLE; dependency UNAVAILABLE, UPSTREAM
   */
  unseal(ciphertext: Uint8Array): Promise<{
    readonly plaintext: Buffer;
    readonly context: Readonly<Record<string, string>>;
  }>;
}

/** What is signed of a release, and by which key it has to be. */
export type SignedRecord = Pick<
  SealedRelease, 'itemId' | 'kind' | 'sellerId' | 'version' | 'archiveSha256' | 'archiveBytes' | 'manifest' | 'manifestSignature' | 'signingPublicKey'
>;

/** A release whose every byte is the signed one. */
export interface VerifiedRelease {
  readonly manifest: ReleaseManifest;
  /** The canonical archive; catalogue/archive.ts reads it. */
  readonly archive: Buffer;
}

/**
 * The manifest of a release as its seller signed it, and nothing but what the catalogue says of that release (B5).
 * @throws Failure subject INTEGRITY_FAILED, MANIFEST_INVALID
 */
export function verifySignedRecord(release: SignedRecord): ReleaseManifest {
  const manifest = verifiedManifest(release.manifest, release.manifestSignature, release.signingPublicKey);
  const same = manifest.item_id === release.itemId && manifest.kind === release.kind && manifest.seller_id === release.sellerId
    && manifest.version === release.version && manifest.archive_sha256 === release.archiveSha256 && manifest.archive_bytes === release.archiveBytes;
  if (!same) throw integrity(release, 'its signed manifest is that of another release');
  return manifest;
}

/**
 * Ciphertext → verified archive, in memory alone (I9). Nothing of it is returned before all of it was checked: length and
 * digest of the ciphertext, signature of the manifest, encryption, context, expanded length, digest of the archive (B5); and
 * no field of a template's configuration that a gate reads before fetch (B6).
 * @throws Failure subject INTEGRITY_FAILED, MANIFEST_INVALID, TOO_LARGE, GATE_FIELD, KEY_UNUSABLE; dependency UNAVAILABLE, UPSTREAM
 */
export async function unsealRelease(
  unsealer: Unsealer, release: SignedRecord & Pick<SealedRelease, 'ciphertextSha256' | 'ciphertextBytes'>, ciphertext: Uint8Array, limits: ReleaseLimits,
): Promise<VerifiedRelease> {
  const manifest = verifySignedRecord(release);
  if (ciphertext.length !== release.ciphertextBytes || sha256(ciphertext) !== release.ciphertextSha256) {
    throw integrity(release, 'the sealed object is not the registered one');
  }
  const { plaintext, context } = await unsealer.unseal(ciphertext);
  if (!isSameContext(context, sealContext(manifest))) throw integrity(release, 'it was sealed as another release');
  const archive = await expandArchive(plaintext, manifest.archive_bytes, limits);
  if (sha256(archive) !== manifest.archive_sha256) throw integrity(release, 'its archive has not the digest of the signed manifest');
  const config = manifest.kind === 'template' ? fileInArchive(archive, manifest.files, configFile) : undefined;
  if (config !== undefined) checkConfig(config, manifest.runtimes);
  return { manifest, archive };
}

function integrity(release: Pick<SignedRecord, 'itemId' | 'version'>, reason: string): Failure {
  return new Failure('subject', 'INTEGRITY_FAILED', `${release.itemId} ${release.version}: ${reason}. Nothing of it is used.`);
}
