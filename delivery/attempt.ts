import { appendAudit } from '../process/audit.ts';
import { retryDelayMs } from '../process/backoff.ts';
import { tenantTx } from '../process/database.ts';
import { asFailure, Failure } from '../process/failure.ts';
import { deferClaim, settleClaim, type Claim } from '../process/pending.ts';
import { passStep } from '../process/steps.ts';
import { applyScope, asideRecordOf, type ApplyScope } from './apply-scope.ts';
import { buildLacking, type BuildDeps } from './build-release.ts';
import type { Decision } from './decide.ts';
import { closeAttempt, closeAttempts, raiseAttemptNumbers, readAsides, readReceipts, writeDelivery, writeWaiting, type Receipts } from './delivery-rows.ts';
import { finish, finishParked, recordDrift } from './finish.ts';
import { releasesBeside } from './forbidden.ts';
import { permit } from './permit.ts';
import { finishRemoval, finishWithoutVolume } from './removal.ts';
import { filesOf, type DeliveryPlan } from './resolve-template-assets.ts';
import { recordStaged } from './staged.ts';
import { startAttempt, type StartOptions } from './start.ts';
import type { Applied, AsideRecord, Inspection, Survey, WantedFile } from './volume/volume-work.ts';
import type { Step } from './while-planned.ts';

export interface DeliveryDeps extends BuildDeps {
  /** Absolute path of the volume of a workspace on this host. */
  readonly volumeOf: (workspaceId: string) => string;
  readonly options: StartOptions;
}

/**
 * One attempt, step by step (2-architecture): start → fence → survey → fetch, unseal, build → permit → apply → probe →
 * finish, or, while the workspace is online, → staged. Every step but the file work is a short transaction; no network
 * call happens under a row lock. Throws a Failure when the attempt cannot go on; the worker makes the row due again.
 */
export async function runAttempt(deps: DeliveryDeps, claim: Claim): Promise<DeliveryPlan | undefined> {
  const plan = await startAttempt(deps.database, claim, deps.options);
  if (plan === undefined) return undefined;
  const attempt = new Attempt(deps, plan, claim.tries + 1);
  try {
    await attempt.run();
  } catch (error) {
    await attempt.abandon();
    throw error;
  }
  return plan;
}

class Attempt {
  readonly #deps: DeliveryDeps;
  readonly #plan: DeliveryPlan;
  readonly #tries: number;
  readonly #volume: string;
  readonly #wanted: readonly WantedFile[];
  #receipts: Receipts = { files: [], directories: [] };
  #record: AsideRecord | null = null;
  #isFenced = false;
  /** A file of the user stands where an identity file has to be. */
  #isConflict = false;

  /** Reads the files of the plan, and with them verifies the manifests: may throw INTEGRITY_FAILED. */
  constructor(deps: DeliveryDeps, plan: DeliveryPlan, tries: number) {
    this.#deps = deps;
    this.#plan = plan;
    this.#tries = tries;
    this.#volume = deps.volumeOf(plan.workspace.workspaceId);
    // No more of each than the file work reads: it is copied to a volume thread with every call.
    this.#wanted = filesOf(plan).map(({ path, sha256, size, executable }) => ({ path, sha256, size, executable }));
  }

  async run(): Promise<void> {
    const { database, options, volumes } = this.#deps;
    const plan = this.#plan;
    passStep('inspect', plan.attempt);
    const inspection = await volumes.inspect({ volume: this.#volume });
    if (inspection.isGone) {
      await finishWithoutVolume(database, plan, this.#tries, options);
      return;
    }
    if (inspection.highestAttempt >= plan.attempt) {
      await this.#claimAgain(inspection.highestAttempt);
      return;
    }
    const adopted = await this.#fence(inspection);
    if (adopted === 'superseded') {
      await this.#settle('superseded');
      return;
    }
    switch (plan.decision.act) {
      case 'park':
        await this.#settle(await finishParked(database, plan, this.#tries, options));
        return;
      case 'confirm':
        await this.#confirm(plan.decision);
        return;
      case 'stage':
        await this.#stage(adopted);
        return;
      case 'boot':
        await this.#boot(plan.decision, adopted);
        return;
      case 'remove':
        await this.#remove();
        return;
      case 'ask':
        throw new Failure('fault', 'FAULT', 'a restart is asked for in the transaction of start');
    }
  }

  /**
   * After a failure: our tree goes, so that no plaintext waits for the next try (I9). When that fails too, the attempt stays
   * open, and the next one discards what it left; the caller's failure is the one to tell.
   */
  async abandon(): Promise<void> {
    try {
      // Before the fence there is nothing of ours on the volume.
      if (this.#isFenced) await this.#settle('replan');
      else await tenantTx(this.#deps.database, this.#plan.workspace.orgId, async (trx) => { await closeAttempt(trx, this.#plan.attempt); });
    } catch (error) {
      if (asFailure(error).kind === 'fault') throw error;
    }
  }

  /** Also reads the receipts. Out: paths whose staged file of an earlier attempt is in our tree now. */
  async #fence(inspection: Inspection): Promise<ReadonlySet<string> | 'superseded'> {
    const { database, volumes } = this.#deps;
    const { attempt, delivery: { staged, residue, waiting }, workspace: { workspaceId, orgId } } = this.#plan;
    const asides = inspection.attempts.length === 0 ? [] : await tenantTx(database, this.#plan.workspace.orgId, async (trx) => await readAsides(trx, workspaceId, inspection.attempts));
    const adopt = staged === null || this.#wanted.length === 0 ? undefined : { attempt: staged.attempt, files: this.#wanted };
    passStep('fence', attempt);
    const fenced = await volumes.fence({ volume: this.#volume, attempt, asides, adopt });
    if (fenced.kind === 'superseded') return 'superseded';
    this.#isFenced = true;
    const { returned, kept } = fenced;
    this.#receipts = await tenantTx(database, this.#plan.workspace.orgId, async (trx) => {
      // An open attempt of a lower number was open at start, or there is none: only the current one may start another.
      if (residue) await closeAttempts(trx, workspaceId, { upTo: attempt - 1 });
      // Taken over or deleted: either way its folder is no more.
      if (staged !== null) await writeDelivery(trx, workspaceId, { staged: null });
      if (waiting.length > 0) await writeWaiting(trx, workspaceId, attempt, []);
      if (returned.length + kept.length > 0) {
        // Files of the user that an earlier attempt had moved: where they are now (C8).
        await appendAudit(trx, [{
          subjectKind: 'workspace', subjectId: workspaceId, orgId, action: 'fence', outcome: 'rescued', attempt,
          detail: { returned: returned.slice(0, 100), kept: kept.slice(0, 100) },
        }]);
      }
      return await readReceipts(trx, workspaceId);
    });
    return new Set(fenced.adopted);
  }

  async #stage(adopted: ReadonlySet<string>): Promise<void> {
    const { database, options } = this.#deps;
    const built = await buildLacking(this.#deps, this.#plan, this.#volume, await this.#survey(applyScope(this.#plan, this.#receipts)), adopted);
    const step = built === 'done' ? await recordStaged(database, this.#plan, options.settleWindowMs, options) : built;
    // A staged tree stays where it is, for the boot to come.
    if (step !== 'done') await this.#settle(step);
  }

  async #boot(decision: Extract<Decision, { act: 'boot' }>, adopted: ReadonlySet<string>): Promise<void> {
    const { database, options } = this.#deps;
    const plan = this.#plan;
    const scope = applyScope(plan, this.#receipts);
    const survey = await this.#survey(scope);
    const built = await buildLacking(this.#deps, plan, this.#volume, survey, adopted);
    const applied = built === 'done' ? await this.#permitAndApply(scope, survey) : built;
    if (typeof applied === 'string') {
      await this.#settle(applied);
      return;
    }
    if (applied.lacking.length > 0) {
      await this.#tryAgainNow();
      return;
    }
    const standing = new Set([...applied.written, ...applied.replaced, ...applied.unchanged]);
    const kept = [...new Set(applied.kept.flatMap((file) => (file.path === null || standing.has(file.path) ? [] : [file.path])))].toSorted();
    const odd = (await this.#probe()).find((file) => !kept.includes(file.path));
    if (odd !== undefined) {
      throw new Failure('subject', 'MISSING_ASSETS', `The probe found ${odd.path} ${odd.state} right after it was delivered: somebody changed it meanwhile`,
        { cure: 'Look who changes the file; delivery is retried by itself.' });
    }
    this.#isConflict = decision.outcome.kind === 'ready' && filesOf(plan).some((file) => file.identity && kept.includes(file.path));
    await this.#settle(await finish(database, plan, { kept, edited: kept.filter((path) => scope.receipts.has(path)), directories: applied.directories, attempts: this.#tries }, options));
  }

  /** Only the releases that have to go are touched. */
  async #remove(): Promise<void> {
    const { database, options } = this.#deps;
    const scope = applyScope(this.#plan, this.#receipts);
    const applied = await this.#permitAndApply(scope, await this.#survey(scope));
    if (typeof applied === 'string') {
      await this.#settle(applied);
      return;
    }
    await this.#settle(await finishRemoval(database, this.#plan, { paths: scope.removal, directories: applied.directories, kept: applied.kept.length }, options));
  }

  /** Nothing on the volume is changed: what is not ours any more is the user's; what is missing is drift (C9). */
  async #confirm(decision: Extract<Decision, { act: 'confirm' }>): Promise<void> {
    const { database, options } = this.#deps;
    const identity = new Set(filesOf(this.#plan).flatMap((file) => (file.identity ? [file.path] : [])));
    const odd = await this.#probe(decision.probes === 'all' ? this.#wanted : this.#wanted.filter((file) => identity.has(file.path)));
    const missing = odd.find((file) => file.state === 'missing');
    if (missing !== undefined) {
      await this.#settle(await recordDrift(database, this.#plan, missing.path, options));
      return;
    }
    const kept = odd.map((file) => file.path).toSorted();
    this.#isConflict = kept.some((path) => identity.has(path));
    await this.#settle(await finish(database, this.#plan, { kept, edited: kept, directories: this.#receipts.directories, attempts: this.#tries }, options));
  }

  async #permitAndApply(scope: ApplyScope, survey: Survey): Promise<Applied | Exclude<Step, 'done'>> {
    const { database, options, volumes } = this.#deps;
    const { attempt } = this.#plan;
    const record = asideRecordOf(this.#plan, scope, survey, this.#receipts.directories);
    const permitted = await permit(database, this.#plan, record, options);
    if (permitted !== 'done') return permitted;
    this.#record = record;
    passStep('apply', attempt);
    const applied = await volumes.apply({ volume: this.#volume, attempt, record, wanted: scope.wanted });
    return applied.kind === 'superseded' ? 'superseded' : applied;
  }

  async #survey({ wanted, receipts, denied }: ApplyScope): Promise<Survey> {
    const { directories } = this.#receipts;
    passStep('survey', this.#plan.attempt);
    return await this.#deps.volumes.survey({ volume: this.#volume, wanted, receipts, known: this.#plan.known, directories, denied });
  }

  /** Reads files of the set as a boot would (C9). Out: those that are not the wanted ones. */
  async #probe(files = this.#wanted) {
    passStep('probe', this.#plan.attempt);
    const probed = await this.#deps.volumes.probe({ volume: this.#volume, files });
    return probed.filter((file) => file.state !== 'ok');
  }

  /**
   * The folder of this attempt is put in order and the attempt closed; a superseded one has no folder any more, and is tried
   * again when the claim is still its own. Earlier
   * releases of items that are still wanted may be held: their copies wait for the next fence, which rescues what a late
   * writer did to them; all other copies go now (I9).
   */
  async #settle(step: Step): Promise<void> {
    if (step === 'superseded') {
      await this.#tryAgainLater();
      return;
    }
    const { database, volumes } = this.#deps;
    const { attempt, decision, n, wanted, workspace: { workspaceId } } = this.#plan;
    const items = new Set(wanted.items.map((item) => item.itemId));
    const held = this.#receipts.files.filter((receipt) => items.has(receipt.itemId));
    const mayHold = step === 'done' && decision.act !== 'remove' ? [...this.#wanted, ...held].map((file) => file.sha256) : [];
    passStep('settle', attempt);
    const settled = await volumes.settle({ volume: this.#volume, attempt, record: this.#record, mayHold });
    await tenantTx(database, this.#plan.workspace.orgId, async (trx) => {
      if (settled.waiting > 0) await writeWaiting(trx, workspaceId, attempt, releasesBeside(held, wanted.items));
      await closeAttempts(trx, workspaceId, { upTo: attempt });
      // Only now: a crash before this leaves the row, and the next claim puts the folder in order.
      const isFinished = step === 'done' && (decision.act === 'boot' || decision.act === 'confirm');
      if (isFinished && !this.#isConflict) await settleClaim(trx, workspaceId, attempt, n);
      passStep('close:commit', attempt);
    });
    passStep('close:committed', attempt);
    // A boot that waits for the user to move a file away is looked at again: nothing else would say that it is gone (C9).
    if (step === 'done' && this.#isConflict) await this.#tryAgainLater();
  }

  /** The volume has seen higher numbers than the database gives: it was restored to an earlier point (I26). */
  async #claimAgain(highest: number): Promise<void> {
    const isRaised = await tenantTx(this.#deps.database, this.#plan.workspace.orgId, async (trx) => await raiseAttemptNumbers(trx, highest));
    if (!isRaised) {
      throw new Failure('subject', 'UNSUPPORTED_VOLUME', `The volume has a folder .waybill/attempts/${highest}, which no attempt made`,
        { cure: 'Remove the folder that the message names; delivery is retried by itself.' });
    }
    await this.#tryAgainNow();
  }

  /** With backoff. Does nothing when a later attempt has taken the claim over. */
  async #tryAgainLater(): Promise<void> {
    const { attempt, n, workspace: { workspaceId } } = this.#plan;
    const delayMs = retryDelayMs(this.#tries, Math.random());
    await tenantTx(this.#deps.database, this.#plan.workspace.orgId, async (trx) => { await deferClaim(trx, { workspaceId, attempt, n }, delayMs, true); });
  }

  async #tryAgainNow(): Promise<void> {
    const { attempt, n, workspace: { workspaceId } } = this.#plan;
    await tenantTx(this.#deps.database, this.#plan.workspace.orgId, async (trx) => { await deferClaim(trx, { workspaceId, attempt, n }, 0, false); });
  }
}
