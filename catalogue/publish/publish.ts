import type { Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import type { Channel, CommitId, ItemId, Sha256, Version } from '../../schemas/ids.ts';
import type { ReleaseLimits } from '../limits.ts';
import type { SourceFile } from '../archive.ts';
import { findSeller, loadCatalogue, loadSealedReleases, type SealedRelease, type Seller } from '../lookup.ts';
import type { ReleaseManifest } from '../manifest.ts';
import type { ReleaseStatus } from '../release.ts';
import { configFile, shapeConfig, type ShapedConfig } from '../template-config.ts';
import { describeFolder } from './describe.ts';
import { packRelease, type PackedRelease } from './pack.ts';
import type { PinnedCommit, SourceRepository } from './pin.ts';
import { checkSameContent, registerRelease, type UploadedRelease } from './register.ts';
import { completeRequest, decideItem, parseRequest, type ItemTerms, type OpenRequest, type ParsedRequest, type PublishRequest } from './request.ts';
import { refuseSecrets } from './scan.ts';
import { sealArchive, type Sealer } from './seal.ts';
import { signManifest, type ManifestSigner } from './sign.ts';
import { checkSkills } from './skills.ts';
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
  /** As it is signed: never a path of this machine. */
  readonly repository: string;
  readonly commit: CommitId;
  readonly defaultBranch: string;
  readonly files: number;
  /** Paths of the files that are delivered as executable, sorted; who approves looks at these first. */
  readonly executables: readonly string[];
  /** Fields that were taken out of a template's config.yaml (B6). */
  readonly stripped: readonly string[];
  readonly archiveSha256: Sha256;
  readonly archiveBytes: number;
  readonly ciphertextSha256: Sha256;
  readonly ciphertextBytes: number;
  readonly objectKey: string;
}

/**
 * Publishes one release (B2–B4): reads a merged commit, checks paths, limits, fields, skills and secrets, packs it
 * canonically, signs the manifest, encrypts, uploads and registers, in this order, so that nothing is in the catalogue that
 * cannot be fetched. The same again changes nothing; other content under the same version is refused.
 * @throws Failure input: FIELD_INVALID, RUNTIME_UNKNOWN, SELLER_UNKNOWN, PIN_UNMERGED, NOT_FOUND, PATH_REFUSED, TOO_LARGE,
 *   MANIFEST_INVALID, GATE_FIELD, SECRET_FOUND, CONFLICT, RELEASE_NOT_APPROVED; subject: KEY_UNUSABLE; dependency:
 *   UNAVAILABLE, UPSTREAM
 */
export async function publishRelease(deps: PublishDeps, wanted: PublishRequest): Promise<PublishReport> {
  const request = parseRequest(wanted);
  await requireSeller(deps.database, request);
  await using commit = await deps.source.open(request.pin);
  return await publishFrom(deps, commit, request);
}

/** As publishRelease, from a commit that is open already: several releases of one repository are read out of one. */
export async function publishFrom(deps: PublishDeps, commit: PinnedCommit, open: OpenRequest): Promise<PublishReport> {
  const { database, limits, report = () => undefined } = deps;
  const seller = await requireSeller(database, open);
  const committed = await commit.readFolder(open.pin.path, limits, open.only);
  report(`commit ${open.pin.commit} is in ${commit.defaultBranch}: ${committed.length} files`);
  // From here on the repository goes by the name that others may read.
  const named = { ...open, pin: { ...open.pin, repository: commit.repository } };
  const request = completeRequest(named, open.kind === 'template' ? undefined : describeFolder(committed));
  const { itemId, version, pin } = request;
  const item = decideItem((await loadCatalogue(database, [itemId])).get(itemId), request);

  const { files, stripped } = shapeFiles(item, committed);
  for (const { field, reason } of stripped) report(`${configFile}: the field ${JSON.stringify(field)} is taken out: ${reason}`);
  const packed = packRelease({ ...item, version, source: pin }, files, limits);
  checkSkills(files);
  await refuseSecrets(files);
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
    repository: pin.repository, commit: pin.commit, defaultBranch: commit.defaultBranch,
    files: release.files,
    executables: packed.manifest.files.filter((file) => file.executable).map((file) => file.path),
    stripped: stripped.map(({ field }) => field),
    archiveSha256: release.archiveSha256, archiveBytes: release.archiveBytes,
    ciphertextSha256: sealed.ciphertextSha256, ciphertextBytes: sealed.ciphertextBytes, objectKey: sealed.objectKey,
  };
}

/** A template's config.yaml with the fields that it may carry; everything else as it was committed (B6). */
function shapeFiles({ kind, runtimes }: ItemTerms, files: readonly SourceFile[]): { files: readonly SourceFile[]; stripped: ShapedConfig['stripped'] } {
  const config = kind === 'template' ? files.find(({ path }) => path === configFile) : undefined;
  if (config === undefined) return { files, stripped: [] };
  const { bytes, stripped } = shapeConfig(config.bytes, runtimes);
  return { files: files.map((file) => (file === config ? { ...file, bytes } : file)), stripped };
}

async function requireSeller(database: Database, { sellerId }: OpenRequest): Promise<Seller> {
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
