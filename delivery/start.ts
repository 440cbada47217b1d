import { appendAudit } from '../process/audit.ts';
import { tenantTx, type Database, type Transaction } from '../process/database.ts';
import { handOver, readClaim, settleClaim, type Claim, type Taker } from '../process/pending.ts';
import { passStep } from '../process/steps.ts';
import { parseWorkspaceId } from '../schemas/ids.ts';
import { becomeCurrent, insertAttempt, lockWorkspace, type LockedWorkspace } from './delivery-rows.ts';
import { settleParked } from './park.ts';
import { settleStaged } from './restart.ts';
import { planForRecord, resolveTemplateAssets, type DeliveryPlan, type ResolveOptions } from './resolve-template-assets.ts';

export interface StartOptions extends ResolveOptions {
  /** How long changes of an online workspace are gathered before a restart is asked for (C11). */
  readonly settleWindowMs: number;
}

/**
 * *start*: decides what this attempt is to do and stores it with the attempt before anything happens. Parks at once when
* nothing on the volume is concerned. Undefined: the attempt is over (parked, asked, superseded, another's, or nothing to
 * deliver). `work`, if the attempt goes on, is done in the same transaction.
 */
export async function startAttempt(
  database: Database, claim: Claim, options: StartOptions, taker: Taker = 'worker',
  work?: (trx: Transaction, plan: DeliveryPlan, locked: LockedWorkspace) => Promise<void>,
): Promise<DeliveryPlan | undefined> {
  const started = await tenantTx(database, claim.orgId, async (trx) => {
    const workspaceId = parseWorkspaceId(claim.workspaceId);
    const locked = await lockWorkspace(trx, workspaceId);
    const held = await readClaim(trx, workspaceId, claim.attempt);
    if (held === undefined) return undefined;
    if (locked === undefined) {
      // A wake whose record the fold has yet to write: the fold wakes again.
      await settleClaim(trx, workspaceId, claim.attempt, held.n);
      return undefined;
    }
    const rightful: Taker = locked.workspace.deliveryMode === 'box' ? 'box' : 'worker';
    if (rightful !== taker) {
      await handOver(trx, claim, rightful);
      return undefined;
    }
    await becomeCurrent(trx, workspaceId, claim.attempt);
    const { template } = locked.workspace;
    const plan = await resolveTemplateAssets(trx, template, locked, { attempt: claim.attempt, n: held.n }, options);
    await insertAttempt(trx, { attempt: claim.attempt, workspace: locked.workspace, n: held.n, plan: planForRecord(plan) });
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspaceId, orgId: locked.workspace.orgId, action: 'plan',
      outcome: plan.decision.act, code: plan.wanted.refusal?.code, attempt: claim.attempt, causedBy: locked.workspace.eventId,
      detail: {
        epoch: locked.workspace.epoch, generation: locked.workspace.generation, setDigest: plan.wanted.setDigest,
        wanted: plan.wanted.items.map((item) => `${item.itemId}@${item.version}`), withheld: plan.wanted.withheld,
      },
    }]);
    const { decision } = plan;
    const isOver = decision.act === 'ask' || (decision.act === 'park' && !decision.discards);
    if (decision.act === 'ask') await settleStaged(trx, plan, locked, options.settleWindowMs);
    else if (isOver) await settleParked(trx, plan, locked.assetsVersion, claim.tries + 1);
    else await work?.(trx, plan, locked);
    passStep('start:commit', claim.attempt);
    return isOver ? undefined : plan;
  });
  passStep('start:committed', claim.attempt);
  return started;
}
