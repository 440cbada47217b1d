import type { Transaction } from '../process/database.ts';
import { settleClaim } from '../process/pending.ts';
import { Announcer } from './announce.ts';
import { sameOutcome } from './decide.ts';
import { lapseName, type Lapse } from './forbidden.ts';
import { closeAttempts, noteOutcome, writeDelivery, writeHeldItems, type DeliveryChange } from './delivery-rows.ts';
import type { DeliveryPlan } from './resolve-template-assets.ts';

/**
 * Ends an attempt that leaves the volume as it is: the pending row goes, the delivery row says why, and what is news is
 * announced. Any wake brings the workspace back; both sides hold the item's locks, so none is lost (C12).
 */
export async function settleParked(trx: Transaction, plan: DeliveryPlan, assetsVersion: number, attempts: number): Promise<void> {
  const { decision, delivery, workspace } = plan;
  if (decision.act !== 'park') return;
  const announcer = await Announcer.open(trx, plan, assetsVersion);
  // Whoever runs again in this epoch is probed first; nobody looks for the probes of those that do not run (C9).
  const change: DeliveryChange = { parkedCode: decision.code, probeDue: workspace.status !== 'online' && workspace.status !== 'provisioning' };
  if (delivery.probeDue) change.probedAt = new Date(announcer.occurredAt);

  const news = newLapses(plan, decision.lapses);
  if (news.length > 0) {
    await announcer.revoked(news, 'next_boot');
    change.announced = null; // the last word is no outcome any more (I6)
    change.lapsesAnnounced = [...delivery.lapsesAnnounced, ...news.map(lapseName)];
  }
  if (decision.outcome !== null && !sameOutcome(delivery.announced, decision.outcome)) {
    await announcer.outcome(decision.outcome, [], attempts);
    change.announced = decision.outcome;
  }
  if (decision.discards) {
    change.staged = null;
    change.restartDueAt = null;
    await writeHeldItems(trx, workspace, delivery.held.map((release) => release.itemId));
  }
  await writeDelivery(trx, workspace.workspaceId, { ...change, assetsVersion: announcer.assetsVersion });
  await noteOutcome(trx, plan.attempt, { outcome: 'parked', code: decision.code });
  await closeAttempts(trx, workspace.workspaceId, { upTo: plan.attempt });
  await settleClaim(trx, workspace.workspaceId, plan.attempt, plan.n);
}

/** Lapses that AssetsRevoked has not named since the last finish: each is said once. */
export function newLapses(plan: DeliveryPlan, lapses: readonly Lapse[]): Lapse[] {
  return lapses.filter((lapse) => !plan.delivery.lapsesAnnounced.includes(lapseName(lapse)));
}
