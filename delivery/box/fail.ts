import { retryDelayMs } from '../../process/backoff.ts';
import { tenantTx } from '../../process/database.ts';
import type { Failure } from '../../process/failure.ts';
import { deferClaim, readClaim } from '../../process/pending.ts';
import { closeAttempt } from '../delivery-rows.ts';
import { reject } from '../reject.ts';
import type { DeliveryPlan } from '../resolve-template-assets.ts';
import type { BoxDeps } from './box-caller.ts';

/** An attempt of a box that came to nothing, as a worker ends one: said when it lasts and is news, and due again after a backoff. */
export async function failAttempt({ database, options }: BoxDeps, plan: DeliveryPlan, failure: Failure): Promise<void> {
  const { attempt, n, workspace: { workspaceId, orgId } } = plan;
  const claim = await tenantTx(database, orgId, async (trx) => await readClaim(trx, workspaceId, attempt));
  if (claim === undefined) return;
  await reject(database, { workspaceId, orgId, attempt, n, tries: claim.tries }, failure, options);
  await tenantTx(database, orgId, async (trx) => {
    await closeAttempt(trx, attempt);
    await deferClaim(trx, { workspaceId, attempt, n }, retryDelayMs(claim.tries + 1, Math.random()), true);
  });
}
