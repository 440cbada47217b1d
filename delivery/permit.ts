import { appendAudit } from '../process/audit.ts';
import type { Database, Transaction } from '../process/database.ts';
import { addReceipts, writeAside, writeDelivery, writeHeldItems, type LockedWorkspace } from './delivery-rows.ts';
import { filesOf, type DeliveryPlan, type ResolveOptions } from './resolve-template-assets.ts';
import type { AsideRecord } from './volume/volume-work.ts';
import { whilePlanned, type Step } from './while-planned.ts';

/**
 * *permit*: the last look at the truth before files change. Still current and still entitled → what may be moved aside,
 * the union of receipts and the mark `applying` are stored; a crash from here on is a mixture that no boot sees, and the
 * next attempt goes on from there (I8). `before` is done first, in the same transaction.
 */
export async function permit(
  database: Database, plan: DeliveryPlan, record: AsideRecord, options: ResolveOptions,
  before?: (trx: Transaction, locked: LockedWorkspace) => Promise<void>,
): Promise<Step> {
  return await whilePlanned(database, plan, options, 'permit', async (trx, locked) => {
    await before?.(trx, locked);
    const { workspace, delivery, wanted, attempt } = plan;
    await writeAside(trx, attempt, record);
    await addReceipts(trx, workspace.workspaceId, filesOf(plan), [...record.directories, ...record.making]);
    await writeHeldItems(trx, workspace, [...delivery.held, ...wanted.items].map((release) => release.itemId));
    await writeDelivery(trx, workspace.workspaceId, { applying: { attempt } });
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'permit', outcome: 'allow',
      attempt, causedBy: workspace.eventId, detail: { setDigest: wanted.setDigest },
    }]);
  });
}
