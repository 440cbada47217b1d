import { tenantTx, type Database, type Transaction } from '../process/database.ts';
import { deferClaim, readClaim } from '../process/pending.ts';
import { passStep } from '../process/steps.ts';
import { noteOutcome, lockWorkspace, type LockedWorkspace } from './delivery-rows.ts';
import { isStillPlanned, type DeliveryPlan, type ResolveOptions } from './resolve-template-assets.ts';

/** - done: committed. - replan: something changed; the workspace is due now. - superseded: a later attempt has taken over. */
export type Step = 'done' | 'replan' | 'superseded';

/** The transactions of an attempt that hold its plan against the truth. */
export type PlannedStep = 'grant' | 'permit' | 'staged' | 'finish' | 'removal' | 'park' | 'drift';

/**
 * Runs `work` in a transaction in which the plan is known to be what would be planned now, with every lock taken that
 * keeps it so until the commit. *permit*, *staged*, *finish* and the grant are all this (A8, C7, I24).
 */
export async function whilePlanned(
  database: Database, plan: DeliveryPlan, options: ResolveOptions, name: PlannedStep,
  work: (trx: Transaction, locked: LockedWorkspace) => Promise<void>,
): Promise<Step> {
  const step = await tenantTx(database, plan.workspace.orgId, async (trx): Promise<Step> => {
    const { workspaceId } = plan.workspace;
    const locked = await lockWorkspace(trx, workspaceId);
    const claim = await readClaim(trx, workspaceId, plan.attempt);
    if (locked === undefined || claim === undefined || locked.currentAttempt !== plan.attempt) return 'superseded';
    // What has its outcome takes no step any more: a report may be sent twice.
    if (claim.outcome !== null) return 'superseded';
    if (!(await isStillPlanned(trx, plan, locked, options))) {
      // Made due explicitly: time passes without a wake.
      await noteOutcome(trx, plan.attempt, { outcome: 'replanned' });
      await deferClaim(trx, { workspaceId, attempt: plan.attempt, n: plan.n }, 0, false);
      return 'replan';
    }
    await work(trx, locked);
    passStep(`${name}:commit`, plan.attempt);
    return 'done';
  });
  if (step === 'done') passStep(`${name}:committed`, plan.attempt);
  return step;
}
