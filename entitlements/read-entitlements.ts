import type { Transaction } from '../process/database.ts';
import type { ItemId, OrgId } from '../schemas/ids.ts';
import { effectiveEntitlement, type EffectiveEntitlement } from './effective.ts';
import { loadLines, readClock } from './sql.ts';

/**
 * What the lines of an org say of these items at this moment of the database's clock: the truth that a plan, a grant and
 * a commit decide by (A1, A7, A8). The caller holds the (org, item) locks, taken in an earlier statement. An item without
 * a line is not in the answer.
 */
export async function readEntitlements(trx: Transaction, orgId: OrgId, itemIds: readonly ItemId[]): Promise<Map<ItemId, EffectiveEntitlement>> {
  if (itemIds.length === 0) return new Map();
  const lines = await loadLines(trx, itemIds.map((itemId) => ({ orgId, itemId })));
  const now = await readClock(trx);
  const byItem = Map.groupBy(lines, (line) => line.itemId);
  return new Map([...byItem].map(([itemId, ofItem]) => [itemId, effectiveEntitlement(ofItem, now)]));
}
