import { asDatabaseFailure, type Database, type Transaction } from '../process/database.ts';
import type { ItemId, OrgId } from '../schemas/ids.ts';

/** What the lines of a pair added up to as of the last fold or passing of time: to look at, never to decide by (A8). */
export interface EntitlementSummary {
  readonly orgId: OrgId;
  readonly itemId: ItemId;
  readonly entitled: boolean;
  readonly policy: string | null;
  readonly validUntil: Date | null;
  readonly reason: string | null;
  readonly revision: number | null;
}

export interface EntitlementFilter {
  readonly org?: OrgId | undefined;
  readonly item?: ItemId | undefined;
  readonly entitled?: boolean | undefined;
  /** Only those after this org and item. */
  readonly after?: readonly string[] | undefined;
  readonly limit: number;
}

/** The pairs that match, in the order of org and item. */
export async function listEntitlements(database: Database | Transaction, { org, item, entitled, after, limit }: EntitlementFilter): Promise<EntitlementSummary[]> {
  const [afterOrg, afterItem] = after ?? [];
  try {
    const { rows } = await database.raw<{ rows: EntitlementSummary[] }>(
      `select e.org_id as "orgId", e.item_id as "itemId", e.entitled, e.policy, e.valid_until as "validUntil", e.reason, r.entitlement_revision as revision
       from entitlements e left join entitlement_revisions r using (org_id, item_id)
       where (:org::uuid is null or e.org_id = :org::uuid) and (:item::text is null or e.item_id = :item)
         and (:entitled::boolean is null or e.entitled = :entitled::boolean)
         and (:afterOrg::uuid is null or (e.org_id, e.item_id) > (:afterOrg::uuid, :afterItem::text))
       order by e.org_id, e.item_id limit :limit`,
      { org: org ?? null, item: item ?? null, entitled: entitled ?? null, afterOrg: afterOrg ?? null, afterItem: afterItem ?? null, limit },
    );
    return rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
