import { retryDelayMs } from '../../process/backoff.ts';
import { tenantTx, type Transaction } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { claimOne, deferClaim, readClaim, settleClaim, type Claim } from '../../process/pending.ts';
import { closeAttempts, lockWorkspace, raiseAttemptNumbers, writeDelivery, writeWaiting, type LockedWorkspace } from '../delivery-rows.ts';
import { releasesBeside } from '../forbidden.ts';
import { announceRemovalPending } from '../removal.ts';
import { restorePlan, type DeliveryPlan } from '../resolve-template-assets.ts';
import { startAttempt } from '../start.ts';
import { boxLeaseMs, checkCaller, type BoxCaller, type BoxDeps } from './box-caller.ts';

export interface BeginInput {
  /** Folders found under `.waybill/attempts` of the volume, ascending. */
  readonly folders: readonly number[];
  /** The attempt whose folder was put in order since its report. */
  readonly settled: number | null;
}

/**
 * Ends what the box has put in order, and begins an attempt if anything is due for it: the claim and *start* of a worker,
 * for one workspace. Undefined: nothing is to be done on the volume now.
 * @throws Failure as checkCaller; subject UNSUPPORTED_VOLUME
 */
export async function beginAttempt(deps: BoxDeps, caller: BoxCaller, input: BeginInput): Promise<DeliveryPlan | undefined> {
  const { database, options } = deps;
  const claimed = await tenantTx(database, caller.orgId, async (trx): Promise<Claim | undefined> => {
    const locked = await lockWorkspace(trx, caller.workspaceId);
    if (locked === undefined) return undefined; // never asked for anything: no delivery row (C6)
    checkCaller(caller, locked.workspace);
    if (input.settled !== null) await settle(trx, locked, input.settled);
    await raiseAbove(trx, input.folders.at(-1) ?? 0);
    return await claimOne(trx, caller.workspaceId, boxLeaseMs);
  });
  return claimed && await startAttempt(database, claimed, options, 'box', beginOnBox);
}

/** In the transaction of *start*, for what the box is about to do. */
async function beginOnBox(trx: Transaction, plan: DeliveryPlan, locked: LockedWorkspace): Promise<void> {
  // Its fence takes the staged tree over or deletes it, and the next word from it comes later.
  if (plan.delivery.staged !== null) await writeDelivery(trx, plan.workspace.workspaceId, { staged: null });
  if (plan.delivery.waiting.length > 0) await writeWaiting(trx, plan.workspace.workspaceId, plan.attempt, []);
  await announceRemovalPending(trx, plan, locked.assetsVersion);
}

/** What an attempt of a worker does after its folder is settled (attempt.ts): closed, and no longer pending where it was the last word. */
async function settle(trx: Transaction, { workspace: { workspaceId }, currentAttempt }: LockedWorkspace, settled: number): Promise<void> {
  if (currentAttempt === null || settled > currentAttempt) return;
  await closeAttempts(trx, workspaceId, { upTo: settled });
  const claim = await readClaim(trx, workspaceId, settled);
  if (claim?.outcome !== 'ready' && claim?.outcome !== 'rejected') return;
  const { rows: [row] } = await trx.raw<{ rows: { code: string | null }[] }>('select code from attempts where attempt = ?', [settled]);
  const plan = await restorePlan(trx, workspaceId, settled);
  if (row === undefined || plan === undefined) return;
  // How many copies of earlier releases wait in aside/ the box alone knows; that some do is the careful answer (I9).
  const items = new Set(plan.wanted.items.map((item) => item.itemId));
  await writeWaiting(trx, workspaceId, settled, releasesBeside(plan.delivery.held.filter((held) => items.has(held.itemId)), plan.wanted.items));
  // A conflict is looked at again: nothing else would say that the user's file is gone (C9).
  if (row.code === 'CONFLICT') await deferClaim(trx, { workspaceId, attempt: settled, n: plan.n }, retryDelayMs(claim.tries + 1, Math.random()), true);
  else await settleClaim(trx, workspaceId, settled, plan.n);
}

/** A database that was restored is behind its volumes (I26). */
async function raiseAbove(trx: Transaction, highest: number): Promise<void> {
  if (highest === 0 || await raiseAttemptNumbers(trx, highest)) return;
  throw new Failure('subject', 'UNSUPPORTED_VOLUME', `The volume has a folder .waybill/attempts/${highest}, which no attempt made: remove it`);
}
