import type { Transaction } from '../process/database.ts';
import { deferClaim, settleClaim } from '../process/pending.ts';
import { Announcer } from './announce.ts';
import { isRestartAsked, withRestartAsked } from './decide.ts';
import { closeAttempts, noteOutcome, writeDelivery, type LockedWorkspace } from './delivery-rows.ts';
import { lapseName } from './forbidden.ts';
import { newLapses } from './park.ts';
import type { DeliveryPlan } from './resolve-template-assets.ts';
import { recentRestarts, restartDueAt } from './restart-window.ts';

/**
 * Ends an attempt whose whole change is staged: says what lapsed, and asks for the restart, once per epoch and set, as soon
 * as the settle window and the cap allow it; until then the workspace is due again at that moment (C11, C13, I25).
 */
export async function settleStaged(trx: Transaction, plan: DeliveryPlan, locked: LockedWorkspace, settleWindowMs: number): Promise<void> {
  const { decision, delivery, workspace, wanted, attempt, n } = plan;
  if (decision.act !== 'stage' && decision.act !== 'ask') return;
  const announcer = await Announcer.open(trx, plan, locked.assetsVersion);
  const now = announcer.occurredAt;
  const news = newLapses(plan, decision.lapses);
  await announcer.revoked(news, 'restart_requested');

  // A set that was asked for before, left and come back to is still asked for: the request is to end this epoch.
  const isAsked = isRestartAsked(delivery, workspace, wanted.setDigest);
  const dueAt = isAsked ? now : restartDueAt(locked.restarts, decision.reason, now, settleWindowMs);
  const asks = !isAsked && dueAt <= now;
  if (asks) await announcer.restartRequested(wanted.setDigest, decision.reason);
  await writeDelivery(trx, workspace.workspaceId, {
    // What stands there is to be replaced: the boot to come reads it all.
    ...(delivery.probeDue && { probeDue: false, probedAt: new Date(now) }),
    ...(asks && {
      restartRequested: withRestartAsked(delivery, workspace, wanted.setDigest),
      restartOwed: null,
      restartsAsked: [...recentRestarts(locked.restarts, now), now].map((at) => new Date(at)),
    }),
    // The last word is no outcome any more (I6).
    ...((asks || news.length > 0) && { announced: null }),
    restartDueAt: dueAt > now ? new Date(dueAt) : null,
    lapsesAnnounced: [...delivery.lapsesAnnounced, ...news.map(lapseName)],
    assetsVersion: announcer.assetsVersion,
    parkedCode: null,
  });
  await noteOutcome(trx, attempt, { outcome: asks ? 'restart-requested' : 'staged' });
  await closeAttempts(trx, workspace.workspaceId, { upTo: attempt });
  // A restart that was owed says nothing about what else is to be done.
  if (dueAt > now || delivery.restartOwed !== null) await deferClaim(trx, { workspaceId: workspace.workspaceId, attempt, n }, Math.max(0, dueAt - now), false);
  else await settleClaim(trx, workspace.workspaceId, attempt, n);
}
