import { effectiveEntitlement, type EffectiveEntitlement } from '../entitlements/effective.ts';
import { lineKeyOf, type Line } from '../entitlements/line.ts';
import { loadLines, readClock } from '../entitlements/sql.ts';
import type { Transaction } from '../process/database.ts';
import type { ItemId, OrgId } from '../schemas/ids.ts';

/** What the lines of one (org, item) add up to, with the lines. */
export interface EntitlementFacts extends EffectiveEntitlement {
  readonly itemId: ItemId;
  readonly lines: readonly Line[];
}

/** What the lines of an org say of these items now. */
export async function loadEntitlements(trx: Transaction, orgId: OrgId, itemIds: readonly ItemId[]): Promise<EntitlementFacts[]> {
  const lines = await loadLines(trx, itemIds.map((itemId) => ({ orgId, itemId })));
  return judge(itemIds, lines, await readClock(trx));
}

/** Lines as they stood at a moment, and the ids of those of which that is not kept. */
export interface PastEntitlements {
  readonly entitlements: readonly EntitlementFacts[];
  readonly notKept: readonly string[];
}

/**
 * What the lines of an org said of these items at a moment. Lines are never deleted, so those that stood then are among those
 * of now; what each was then is in the audit row of the event that had made it so.
 */
export async function loadEntitlementsAt(trx: Transaction, orgId: OrgId, itemIds: readonly ItemId[], at: Date): Promise<PastEntitlements> {
  const now = await loadLines(trx, itemIds.map((itemId) => ({ orgId, itemId })));
  const { rows } = await trx.raw<{ rows: { subject: string; detail: Partial<Line> }[] }>(`
    select l.subject, found.detail from unnest(:lines::text[]) l(subject), lateral (
      select detail from audit where subject_kind = 'line' and subject_id = l.subject and at <= :at and action in ('Purchase', 'Revoke')
        -- What lost a conflict never stood.
        and detail->>'digest' is distinct from detail->>'lost'
      order by id desc limit 1) found`, { lines: now.map(lineKeyOf), at });
  const details = new Map(rows.map(({ subject, detail }) => [subject, detail]));
  const notKept: string[] = [];
  const lines = now.flatMap((line): Line[] => {
    const then = details.get(lineKeyOf(line));
    if (then === undefined) return [];
    if (then.digest === line.digest) return [line];
    if (then.policy !== undefined) return [{ ...line, ...then, ended: then.endedAt !== null }];
    notKept.push(lineKeyOf(line));
    return [];
  });
  return { entitlements: judge(itemIds, lines, at.getTime()), notKept };
}

function judge(itemIds: readonly ItemId[], lines: readonly Line[], now: number): EntitlementFacts[] {
  return itemIds.map((itemId) => {
    const own = lines.filter((line) => line.itemId === itemId).toSorted((a, b) => (a.purchaseId < b.purchaseId ? -1 : 1));
    return { itemId, ...effectiveEntitlement(own, now), lines: own };
  });
}
