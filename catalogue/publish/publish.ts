import type { Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import type { Channel, CommitId, ItemId, Sha256, Version } from '../../schemas/ids.ts';
import type { ReleaseLimits } from '../limits.ts';
import { findSeller, loadCatalogue, loadSealedReleases, type SealedRelease, type Seller } from '../lookup.ts';
import type { ReleaseManifest } from '../manifest.ts';
import type { ReleaseStatus } from '../release.ts';
import { packRelease, type PackedRelease } from './pack.ts';
import type { SourceRepository } from './pin.ts';
import { checkSameContent, registerRelease, type UploadedRelease } from './register.ts';
import { decideItem, parseRequest, type ParsedRequest, type PublishRequest } from './request.ts';
import { sealArchive, type Sealer } from './seal.ts';
import { signManifest, type ManifestSigner } from './sign.ts';
import type { ArtifactStore } from './upload.ts';

export interface PublishDeps {
  readonly database: Database;
  readonly source: SourceRepository;
  readonly signer: ManifestSigner;
  readonly sealer: Sealer;
  readonly store: ArtifactStore;
  readonly limits: ReleaseLimits;
  /** Gets a line for a person after each step. */
  readonly report?: (line: string) => void;
}

/** What was done, with the digests by which it can be found again. */
export interface PublishReport {
  readonly outcome: 'published' | 'unchanged';
  readonly itemId: ItemId;
  readonly version: Version;
  readonly status: ReleaseStatus;
  /** The channel that was asked for, and whether it pointed elsewhere before. */
  readonly channel: { readonly name: Channel; readonly moved: boolean } | null;
  readonly commit: CommitId;
  readonly defaultBranch: string;
  readonly files: number;
  readonly archiveSha256: Sha256;
  readonly archiveBytes: number;
  readonly ciphertextSha256: Sha256;
  readonly ciphertextBytes: number;
  readonly objectKey: string;
}

/**
 * Publishes one release (B2–B4): reads a merged commit, packs it canonically, checks paths and limits, signs the manifest,
 * encrypts, uploads and registers, in this order, so that nothing is in the catalogue that cannot be fetched. The same
 * again changes nothing; other content under the same version is refused.
 * @throws Failure input: FIELD_INVALID, RUNTIME_UNKNOWN, SELLER_UNKNOWN, PIN_UNMERGED, NOT_FOUND, PATH_REFUSED, TOO_LARGE,
 *   MANIFEST_INVALID, CONFLICT, RELEASE_NOT_APPROVED; subject: KEY_UNUSABLE; dependency: UNAVAILABLE, UPSTREAM
 */
export async function publishRelease(deps: PublishDeps, wanted: PublishRequest): Promise<PublishReport> {
  const { database, source, limits, report = () => undefined } = deps;
  const request = parseRequest(wanted);
  const { itemId, version, pin } = request;
  const seller = await requireSeller(database, request);
  const item = decideItem((await loadCatalogue(database, [itemId])).get(itemId), request);

  const { defaultBranch, files } = await source.readPinned(pin, limits);
  report(`commit ${pin.commit} is in ${defaultBranch}: ${files.length} files`);
  const packed = packRelease({ ...item, version, source: pin }, files, limits);
  report(`archive ${packed.manifest.archive_sha256}, ${packed.manifest.archive_bytes} bytes`);

  const isThere = await isRegistered(database, request, packed.manifest);
  const uploaded = isThere ? undefined : await signSealUpload(deps, seller, packed, report);
  const { isNew, release, channelMoved } = await registerRelease(database, request, packed.manifest, uploaded);
  const sealed = await readBack(database, request);
  report(`${itemId} ${version} is ${isNew ? 'registered' : 'there already'}, ${release.status}`);
  return {
    outcome: isNew ? 'published' : 'unchanged',
    itemId, version, status: release.status,
    channel: request.channel === undefined ? null : { name: request.channel, moved: channelMoved },
    commit: pin.commit, defaultBranch,
    files: release.files, archiveSha256: release.archiveSha256, archiveBytes: release.archiveBytes,
    ciphertextSha256: sealed.ciphertextSha256, ciphertextBytes: sealed.ciphertextBytes, objectKey: sealed.objectKey,
  };
}

async function requireSeller(database: Database, { sellerId }: ParsedRequest): Promise<Seller> {
  const seller = await findSeller(database, sellerId);
  if (seller === undefined) throw new Failure('input', 'SELLER_UNKNOWN', `There is no seller ${sellerId}`);
  return seller;
}

/** A look without the lock: spares a second upload of what is there. The look that counts is under the lock. */
async function isRegistered(database: Database, request: ParsedRequest, manifest: ReleaseManifest): Promise<boolean> {
  const known = (await loadCatalogue(database, [request.itemId])).get(request.itemId)?.releases.get(request.version);
  if (known !== undefined) checkSameContent(request, known, manifest);
  return known !== undefined;
}

async function signSealUpload(
  { signer, sealer, store, limits }: PublishDeps, seller: Seller, { manifest, archive }: PackedRelease, report: (line: string) => void,
): Promise<UploadedRelease> {
  const signed = await signManifest(signer, seller, manifest);
  const sealed = await sealArchive(sealer, seller.wrappingKeyId, manifest, archive, limits);
  report(`sealed ${sealed.ciphertextSha256}, ${sealed.ciphertext.length} bytes`);
  const stored = await store.putImmutable({ key: sealed.objectKey, bytes: sealed.ciphertext, sha256: sealed.ciphertextSha256 });
  report(`uploaded ${sealed.objectKey}`);
  return { signed, sealed, stored };
}

async function readBack(database: Database, { itemId, version }: ParsedRequest): Promise<SealedRelease> {
  const [sealed] = await loadSealedReleases(database, [{ itemId, version }]);
  if (sealed === undefined) throw new Error(`${itemId} ${version} is not in the catalogue after it was registered`);
  return sealed;
}
