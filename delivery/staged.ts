import { appendAudit } from '../process/audit.ts';
import type { Database } from '../process/database.ts';
import { writeDelivery, writeHeldItems } from './delivery-rows.ts';
import type { DeliveryPlan, ResolveOptions } from './resolve-template-assets.ts';
import { settleStaged } from './restart.ts';
import { whilePlanned, type Step } from './while-planned.ts';

/** *staged*: the whole change stands verified in the attempt's folder; from here on a restart may be asked for (C11, I25). */
export async function recordStaged(database: Database, plan: DeliveryPlan, settleWindowMs: number, options: ResolveOptions): Promise<Step> {
  return await whilePlanned(database, plan, options, 'staged', async (trx, locked) => {
    const { workspace, delivery, wanted, attempt } = plan;
    const { setDigest } = wanted;
    const items = wanted.items.map(({ itemId, version, archiveSha256 }) => ({ itemId, version, archiveSha256 }));
    await writeHeldItems(trx, workspace, [...delivery.held, ...items].map((release) => release.itemId));
    await writeDelivery(trx, workspace.workspaceId, { staged: { attempt, setDigest, items } });
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'stage', outcome: 'staged',
      attempt, causedBy: workspace.eventId, detail: { setDigest },
    }]);
    await settleStaged(trx, plan, locked, settleWindowMs);
  });
}
