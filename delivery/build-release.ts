import { readArchive, type UnpackedFile } from '../catalogue/archive.ts';
import type { ReleaseLimits } from '../catalogue/limits.ts';
import type { ByteBudget } from '../process/byte-budget.ts';
import type { Database } from '../process/database.ts';
import { passStep } from '../process/steps.ts';
import { grantReleases, recordingDecrypt, signGrant, type GrantedRelease } from './grant.ts';
import type { DeliveryPlan, PlannedFile, PlannedRelease, ResolveOptions } from './resolve-template-assets.ts';
import type { CiphertextCache } from './sources/ciphertext-cache.ts';
import { fetchSealed, type ArtifactFetcher } from './sources/brokered.ts';
import { fetchPinned } from './sources/fetch-pinned.ts';
import type { ObjectSigner } from './sources/object-signer.ts';
import type { PlatformTokenOptions } from './sources/platform-token.ts';
import { unsealRelease, type Unsealer } from './unseal.ts';
import type { Survey, VolumeWork } from './volume/volume-work.ts';
import type { Step } from './while-planned.ts';

/** What it takes to get the bytes of a release into the tree of an attempt. */
export interface BuildDeps {
  readonly database: Database;
  readonly volumes: VolumeWork;
  readonly signer: ObjectSigner;
  readonly fetcher: ArtifactFetcher;
  readonly ciphertexts: CiphertextCache;
  /** By the KMS key that wraps the seller's data keys. */
  readonly unsealerOf: (wrappingKeyId: string) => Unsealer;
  /** What is fetched from git hosts instead of the store (C2). */
  readonly git: Omit<PlatformTokenOptions, 'fetcher' | 'limits'>;
  readonly limits: ReleaseLimits;
  /** Bounds the ciphertext and plaintext in memory. */
  readonly budget: ByteBudget;
  readonly options: ResolveOptions;
}

/**
 * Fetches the releases of which a file is lacking on the volume and in `adopted`, and builds exactly those files into the
 * attempt's tree: grant → fetch → unseal → verified files. Plaintext is in memory and in the tree, nowhere else (I9).
 */
export async function buildLacking(
  deps: BuildDeps, plan: DeliveryPlan, volume: string, survey: Survey, adopted: ReadonlySet<string>,
): Promise<Step> {
  const lacking = new Set(survey.wanted.flatMap(({ path, state }) => ((state === 'absent' || state === 'ours') && !adopted.has(path) ? [path] : [])));
  for (const release of plan.releases) {
    const files = release.plannedFiles.filter((file) => lacking.has(file.path));
    if (files.length === 0) continue;
    // The ciphertext, what it decrypts to, and the archive that expands from it; or the archive of a git host.
    const bytes = (release.source === 'brokered' ? 2 * release.ciphertextBytes : deps.git.bytesMax) + release.archiveBytes;
    const step = await deps.budget.spend(bytes, async () => await buildRelease(deps, plan, volume, release, files));
    if (step !== 'done') return step;
  }
  return 'done';
}

async function buildRelease(
  deps: BuildDeps, plan: DeliveryPlan, volume: string, release: PlannedRelease, files: readonly PlannedFile[],
): Promise<Step> {
  const granted = await grantReleases(deps.database, plan, [release], deps.options);
  if (typeof granted === 'string') return granted;
  const [grant] = granted;
  if (grant === undefined) throw new Error('a grant of one release has one');
  passStep('fetch', release.itemId);
  const unpacked = await fetchRelease(deps, plan, release, grant);
  const byArchivePath = new Map(files.map((file) => [file.archivePath, file]));
  const staged = unpacked.flatMap(({ path, bytes }) => {
    const file = byArchivePath.get(path);
    return file === undefined ? [] : [{ path: file.path, sha256: file.sha256, executable: file.executable, bytes }];
  });
  passStep('build', release.itemId);
  const built = await deps.volumes.build({ volume, attempt: plan.attempt, files: staged });
  return built.kind === 'superseded' ? 'superseded' : 'done';
}

/** Every file of the release as it was signed, from where the catalogue says it comes: verified to the end before any is handed on (B5, C2). */
async function fetchRelease(deps: BuildDeps, plan: DeliveryPlan, release: PlannedRelease, grant: GrantedRelease): Promise<readonly UnpackedFile[]> {
  if (release.source !== 'brokered') return await fetchPinned(release, release.source, { ...deps.git, fetcher: deps.fetcher, limits: deps.limits });
  const sealed = await deps.ciphertexts.get(release.ciphertextSha256, async () => await fetchSealed(deps.fetcher, await signGrant(deps.signer, grant)));
  passStep('unseal', release.itemId);
  const { archive } = await recordingDecrypt(deps.database, plan, grant, async () => await unsealRelease(deps.unsealerOf(release.wrappingKeyId), release, sealed, deps.limits));
  return [...readArchive(archive, release.signed.files)];
}
