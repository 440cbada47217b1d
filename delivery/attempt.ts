import { readArchive } from '../catalogue/archive.ts';
import type { ReleaseLimits } from '../catalogue/limits.ts';
import type { ByteBudget } from '../process/byte-budget.ts';
import { tx, type Database } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { deferClaim, type Claim } from '../process/pending.ts';
import { closeAttempts, raiseAttemptNumbers, readAsides, readReceipts } from './delivery-rows.ts';
import { finish, finishParked, type Delivered } from './finish.ts';
import { grantFetch } from './grant.ts';
import { permit } from './permit.ts';
import { planApply } from './plan-apply.ts';
import { filesOf, type DeliveryPlan, type PlannedFile, type PlannedRelease, type ResolveOptions } from './resolve-template-assets.ts';
import { fetchSealed, type ArtifactFetcher } from './sources/brokered.ts';
import type { ObjectSigner } from './sources/object-signer.ts';
import { recordStaged } from './staged.ts';
import { startAttempt } from './start.ts';
import { unsealRelease, type Unsealer } from './unseal.ts';
import type { AsideRecord, DigestsByPath, Inspection, Survey, VolumeWork } from './volume-port.ts';
import type { Step } from './while-planned.ts';

export interface DeliveryDeps {
  readonly database: Database;
  readonly volumes: VolumeWork;
  /** Absolute path of the volume of a workspace on this host. */
  readonly volumeOf: (workspaceId: string) => string;
  readonly signer: ObjectSigner;
  readonly fetcher: ArtifactFetcher;
  readonly unsealer: Unsealer;
  readonly limits: ReleaseLimits;
  /** Bounds the ciphertext and plaintext in memory. */
  readonly budget: ByteBudget;
  readonly options: ResolveOptions & { readonly settleWindowMs: number };
}

/** Known digests of earlier baselines per path; catalogued with the adoption of existing workspaces (C8). */
const noBaselines: DigestsByPath = new Map();

/**
 * One attempt, step by step (2-architecture): start → fence → survey → fetch, unseal, build → permit → apply → probe →
 * finish, or, while the workspace is online, → staged. Every step but the file work is a short transaction; no network
 * call happens under a row lock. Throws a Failure when the attempt cannot go on; the worker makes the row due again.
 */
export async function runAttempt(deps: DeliveryDeps, claim: Claim): Promise<DeliveryPlan | undefined> {
  const plan = await startAttempt(deps.database, claim, deps.options);
  if (plan === undefined) return undefined;
  const work = new AttemptOnVolume(deps, plan, claim.tries + 1);
  try {
    await work.run();
  } catch (error) {
    await work.abandon();
    throw error;
  }
  return plan;
}

class AttemptOnVolume {
  readonly #deps: DeliveryDeps;
  readonly #plan: DeliveryPlan;
  readonly #tries: number;
  readonly #volume: string;
  #record: AsideRecord | null = null;
  #isFenced = false;

  constructor(deps: DeliveryDeps, plan: DeliveryPlan, tries: number) {
    this.#deps = deps;
    this.#plan = plan;
    this.#tries = tries;
    this.#volume = deps.volumeOf(plan.workspace.workspaceId);
  }

  async run(): Promise<void> {
    const { database, options, volumes } = this.#deps;
    const plan = this.#plan;
    const inspection = await volumes.inspect({ volume: this.#volume });
    if (inspection.highestAttempt >= plan.attempt) {
      await this.#claimAgain(inspection.highestAttempt);
      return;
    }
    const adopted = await this.#fence(inspection);
    if (adopted === undefined) return;

    switch (plan.decision.act) {
      case 'park':
        await this.#settle(await finishParked(database, plan, this.#tries, options));
        return;
      case 'confirm':
        await this.#settle(await finish(database, plan, await this.#probe([], []), options));
        return;
      case 'stage':
        await this.#stage(adopted);
        return;
      case 'boot':
        await this.#boot(adopted);
    }
  }

  /** After a failure: our tree goes, so that no plaintext waits for the next try (I9). */
  async abandon(): Promise<void> {
    if (this.#isFenced) await this.#settle('replan');
  }

  /** Files that the earlier staged tree had and that are now in ours; undefined when a later attempt has taken over. */
  async #fence(inspection: Inspection): Promise<ReadonlySet<string> | undefined> {
    const { database, volumes } = this.#deps;
    const plan = this.#plan;
    const asides = await tx(database, async (trx) => await readAsides(trx, inspection.attempts));
    const { staged } = plan.delivery;
    const adopt = staged === null || plan.decision.act === 'park' ? undefined : { attempt: staged.attempt, files: filesOf(plan) };
    const fenced = await volumes.fence({ volume: this.#volume, attempt: plan.attempt, asides, adopt });
    if (fenced.kind === 'superseded') return undefined;
    this.#isFenced = true;
    await tx(database, async (trx) => { await closeAttempts(trx, plan.workspace.workspaceId, { upTo: plan.attempt - 1 }); });
    return new Set(fenced.adopted);
  }

  async #stage(adopted: ReadonlySet<string>): Promise<void> {
    const { database, options } = this.#deps;
    const { survey } = await this.#survey();
    const built = await this.#build(survey, adopted);
    if (built === 'done') {
      const step = await recordStaged(database, this.#plan, options.settleWindowMs, options);
      if (step === 'done') return;
      await this.#settle(step);
    } else {
      await this.#settle(built);
    }
  }

  async #boot(adopted: ReadonlySet<string>): Promise<void> {
    const { database, options, volumes } = this.#deps;
    const plan = this.#plan;
    const { survey, receipts, directories } = await this.#survey();
    const built = await this.#build(survey, adopted);
    if (built !== 'done') {
      await this.#settle(built);
      return;
    }
    const wanted = filesOf(plan);
    const record = planApply({ attempt: plan.attempt, wanted, receipts, known: noBaselines, survey, directories, denied: [] });
    const permitted = await permit(database, plan, record, options);
    if (permitted !== 'done') {
      await this.#settle(permitted);
      return;
    }
    this.#record = record;
    const applied = await volumes.apply({ volume: this.#volume, attempt: plan.attempt, record, wanted });
    if (applied.kind === 'superseded') return;
    if (applied.lacking.length > 0) {
      await this.#tryAgainNow();
      return;
    }
    const kept = applied.kept.flatMap((file) => (file.path === null ? [] : [file.path])).toSorted();
    const delivered = await this.#probe(kept, applied.directories);
    await this.#settle(await finish(database, plan, delivered, options));
  }

  async #survey(): Promise<{ survey: Survey; receipts: DigestsByPath; directories: string[] }> {
    const { database, volumes } = this.#deps;
    const { receipts, directories } = await tx(database, async (trx) => await readReceipts(trx, this.#plan.workspace.workspaceId));
    const survey = await volumes.survey({ volume: this.#volume, wanted: filesOf(this.#plan), receipts, known: noBaselines, directories });
    return { survey, receipts, directories };
  }

  /** Fetches the releases of which a file is lacking, and builds exactly what is lacking into our tree. */
  async #build(survey: Survey, adopted: ReadonlySet<string>): Promise<Step> {
    const lacking = new Set(survey.wanted.filter(({ path, state }) => (state === 'absent' || state === 'ours') && !adopted.has(path)).map(({ path }) => path));
    for (const release of this.#plan.releases) {
      const files = release.plannedFiles.filter((file) => lacking.has(file.path));
      if (files.length === 0) continue;
      const bytes = release.ciphertextBytes + 2 * release.archiveBytes;
      const step = await this.#deps.budget.spend(bytes, async () => await this.#buildRelease(release, files));
      if (step !== 'done') return step;
    }
    return 'done';
  }

  async #buildRelease(release: PlannedRelease, files: readonly PlannedFile[]): Promise<Step> {
    const { fetcher, limits, unsealer, volumes } = this.#deps;
    const grant = await grantFetch(this.#deps, this.#plan, release, this.#deps.options);
    if (typeof grant === 'string') return grant;
    const { archive } = await unsealRelease(unsealer, release, await fetchSealed(fetcher, grant), limits);
    const byArchivePath = new Map(files.map((file) => [file.archivePath, file]));
    const staged = [...readArchive(archive, release.signed.files)].flatMap(({ path, bytes }) => {
      const file = byArchivePath.get(path);
      return file === undefined ? [] : [{ path: file.path, sha256: file.sha256, executable: file.executable, bytes }];
    });
    const built = await volumes.build({ volume: this.#volume, attempt: this.#plan.attempt, files: staged });
    return built.kind === 'superseded' ? 'superseded' : 'done';
  }

  /** Reads every file of the set as a boot would; what is neither wanted nor the user's is not ready (C9). */
  async #probe(kept: readonly string[], directories: readonly string[]): Promise<Delivered> {
    const wanted = filesOf(this.#plan);
    const probed = await this.#deps.volumes.probe({ volume: this.#volume, files: wanted });
    const users = new Set(kept);
    const odd = probed.find((file) => file.state !== 'ok' && !users.has(file.path));
    if (odd !== undefined) {
      throw new Failure('subject', 'MISSING_ASSETS', `the probe found ${odd.path} ${odd.state}; somebody changed it meanwhile`);
    }
    return { kept, directories, attempts: this.#tries };
  }

  /** The folder of this attempt is put in order and the attempt closed; a superseded one has no folder any more. */
  async #settle(step: Step): Promise<void> {
    if (step === 'superseded') return;
    const { database, volumes } = this.#deps;
    const plan = this.#plan;
    const mayHold = filesOf(plan).map((file) => file.sha256);
    await volumes.settle({ volume: this.#volume, attempt: plan.attempt, record: this.#record, mayHold: step === 'done' ? mayHold : [] });
    await tx(database, async (trx) => { await closeAttempts(trx, plan.workspace.workspaceId, { upTo: plan.attempt }); });
  }

  /** The volume has seen higher numbers than the database gives: it was restored to an earlier point (I26). */
  async #claimAgain(highest: number): Promise<void> {
    await tx(this.#deps.database, async (trx) => { await raiseAttemptNumbers(trx, highest); });
    await this.#tryAgainNow();
  }

  async #tryAgainNow(): Promise<void> {
    const { attempt, n, workspace: { workspaceId } } = this.#plan;
    await tx(this.#deps.database, async (trx) => { await deferClaim(trx, { workspaceId, attempt, n }, 0, false); });
  }
}
