import { appendAudit } from '../process/audit.ts';
import type { Database } from '../process/database.ts';
import { settleClaim } from '../process/pending.ts';
import { Announcer } from './announce.ts';
import { closeAttempts, noteOutcome, writeDelivery, writeHeldItems } from './delivery-rows.ts';
import { nameOf, newLapses } from './park.ts';
import type { DeliveryPlan, ResolveOptions } from './resolve-template-assets.ts';
import { whilePlanned, type Step } from './while-planned.ts';

/**
 * *staged*: the whole change stands verified in the attempt's folder; a restart is asked for, once per epoch and set
 * (C11, I25). What was revoked waits for no settle window (C13).
 */
export async function recordStaged(database: Database, plan: DeliveryPlan, settleWindowMs: number, options: ResolveOptions): Promise<Step> {
  return await whilePlanned(database, plan, options, async (trx, locked) => {
    const { workspace, delivery, wanted, attempt, decision } = plan;
    if (decision.act !== 'stage') return;
    const { setDigest } = wanted;
    const announcer = await Announcer.open(trx, plan, locked.assetsVersion);
    const news = newLapses(plan, decision.lapses);
    await announcer.revoked(news, 'restart_requested');
    const asked = delivery.restartRequested;
    if (asked?.epoch !== workspace.epoch || asked.setDigest !== setDigest) {
      const settle = decision.reason === 'revoked' ? 0 : settleWindowMs;
      await announcer.restartRequested({ setDigest, notBefore: announcer.occurredAt + settle, reason: decision.reason });
    }
    const items = wanted.items.map(({ itemId, version, archiveSha256 }) => ({ itemId, version, archiveSha256 }));
    await writeHeldItems(trx, workspace, [...delivery.held, ...items].map((release) => release.itemId));
    await writeDelivery(trx, workspace.workspaceId, {
      staged: { attempt, setDigest, items },
      restartRequested: { epoch: workspace.epoch, setDigest },
      lapsesAnnounced: [...delivery.lapsesAnnounced, ...news.map(nameOf)],
      assetsVersion: announcer.assetsVersion,
      parkedCode: null,
    });
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'stage', outcome: 'staged',
      attempt, causedBy: workspace.eventId, detail: { setDigest, reason: decision.reason },
    }]);
    await noteOutcome(trx, attempt, { outcome: 'staged' });
    await closeAttempts(trx, workspace.workspaceId, { upTo: attempt });
    await settleClaim(trx, workspace.workspaceId, attempt, plan.n);
  });
}
