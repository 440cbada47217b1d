import type { ReleaseManifest } from '../catalogue/manifest.ts';
import { sha256 } from '../catalogue/sha256.ts';
import { targetPath, targetRoot } from '../catalogue/target-path.ts';
import { verifySignedRecord } from '../delivery/unseal.ts';
import type { WantedFile } from '../delivery/volume/volume-work.ts';
import { Failure } from '../process/failure.ts';
import { findRuntime } from '../schemas/runtimes.ts';
import type { Wanted, WantedItem } from './broker-answers.ts';
import type { TrustedKeys } from './key-trust.ts';

/** A release of the wanted set whose manifest its seller has signed, with its files at their places on the volume. */
export interface VerifiedItem {
  readonly item: WantedItem;
  readonly manifest: ReleaseManifest;
  /** Which of the seller's keys signed it, SPKI DER. */
  readonly signingPublicKey: Buffer;
  readonly files: readonly VerifiedFile[];
}

export interface VerifiedFile extends WantedFile {
  /** Its path inside the archive of its release. */
  readonly archivePath: string;
}

/**
 * The wanted set, once every manifest is the one that its seller signed and the whole is what the digest says (checks 2 to 4
 * of the protocol). What the broker says of a path or a root is compared, never taken.
 * @throws Failure subject INTEGRITY_FAILED, MANIFEST_INVALID, RUNTIME_UNKNOWN
 */
export function verifySet(wanted: Wanted, trusted: TrustedKeys): readonly VerifiedItem[] {
  const lines = wanted.items.map((item) => `${item.item_id} ${item.version} ${item.archive_sha256}\n`).toSorted();
  if (sha256(lines.join('')) !== wanted.set_digest) throw integrity('the set digest is not that of the items');
  return wanted.items.map((item) => verifyItem(wanted, item, trusted));
}

function verifyItem(wanted: Wanted, item: WantedItem, trusted: TrustedKeys): VerifiedItem {
  const runtime = findRuntime(wanted.runtime);
  if (runtime === undefined) throw new Failure('subject', 'RUNTIME_UNKNOWN', `this agent does not know the runtime ${wanted.runtime}: give the workspace a newer image`);
  if (item.target_root !== targetRoot(item.kind, item.item_id, runtime)) throw integrity(`${item.item_id} belongs elsewhere than in ${item.target_root}`);
  const { manifest, signingPublicKey } = verifiedBy(trusted.sellerKeys(item.seller_id), item);
  if (!manifest.runtimes.includes(wanted.runtime)) throw integrity(`${item.item_id} ${item.version} is not made for ${wanted.runtime}`);
  const files = manifest.files.map((file): VerifiedFile => ({
    path: targetPath(item.kind, item.item_id, runtime, file.path), archivePath: file.path,
    sha256: file.sha256, size: file.bytes, executable: file.executable,
  }));
  return { item, manifest, signingPublicKey, files };
}

/** The list may give a seller several keys while one takes over from another. */
function verifiedBy(keys: readonly Buffer[], item: WantedItem): Pick<VerifiedItem, 'manifest' | 'signingPublicKey'> {
  let refusal: unknown = integrity(`the key list knows no key of the seller ${item.seller_id}`);
  for (const signingPublicKey of keys) {
    try {
      return { manifest: verifySignedRecord({ ...recordOf(item), signingPublicKey }), signingPublicKey };
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
}

/** An item as the catalogue would say it. */
export const recordOf = (item: WantedItem) => ({
  itemId: item.item_id, kind: item.kind, sellerId: item.seller_id, version: item.version,
  archiveSha256: item.archive_sha256, archiveBytes: item.archive_bytes,
  manifest: item.manifest, manifestSignature: item.manifest_signature,
});

const integrity = (reason: string): Failure => new Failure('subject', 'INTEGRITY_FAILED', `The wanted set is refused: ${reason}. Nothing of it is used.`);
