import { bucketCount } from '../catalogue/rollout.ts';
import { everyTenant, tenantTx, type Database } from '../process/database.ts';
import { wakeInLanes, type Lane } from '../process/pending.ts';

/** Workspaces woken in one transaction: short enough to hold up nobody who works on one of them. */
const pageSize = 500;
/** Workspaces looked at for a page of a rollout's step, most of which may be outside it. */
const lookedAtMax = 5_000;

interface Fanout {
  readonly id: number;
  readonly item_id: string;
  readonly org_id: string | null;
  readonly lane: Lane;
  readonly cursor: string;
  readonly seed: string | null;
  readonly bucket_from: number | null;
  readonly bucket_below: number | null;
}

/**
 * Wakes the next page of workspaces that an item concerns, after a catalogue write (B3) or a change of an entitlement that many hold left its fan-out row. Page and
 * cursor move in one transaction, so a crash between pages repeats none and skips none. False: no row is open.
 * What a catalogue write means for a workspace that runs may wait, for it goes live with a restart: it goes behind what is
 * live. Only who boots now waits for it.
 */
export async function wakeNextPage(database: Database): Promise<boolean> {
  return await tenantTx(database, everyTenant, async (trx) => {
    const { rows: [fanout] } = await trx.raw<{ rows: Fanout[] }>(
      // What is urgent overtakes every page of what is not (C13).
      `select id, item_id, org_id, lane, cursor, seed, bucket_from, bucket_below from fanouts
       where done_at is null order by lane <> 'urgent', id limit 1 for update skip locked`,
    );
    if (fanout === undefined) return false;
    const looksAt = rowsLookedAt(fanout);
    const { rows: page } = await trx.raw<{ rows: { workspace_id: string; boots: boolean; inside: boolean }[] }>(
      `select p.workspace_id, r.status = 'provisioning' as boots,
         :seed::uuid is null or rollout_bucket(:seed::uuid, p.workspace_id) between :from and :below - 1 as inside
       from (
         select distinct workspace_id from workspace_items
         where item_id = :item and org_id = coalesce(:org::uuid, org_id) and workspace_id > :cursor order by workspace_id limit :looksAt
       ) p left join workspace_records r using (workspace_id) order by p.workspace_id`,
      { item: fanout.item_id, org: fanout.org_id, cursor: fanout.cursor, seed: fanout.seed, from: fanout.bucket_from, below: fanout.bucket_below, looksAt },
    );
    await trx.raw(
      'update fanouts set cursor = coalesce(?::uuid, cursor), done_at = case when ? then clock_timestamp() end where id = ?',
      [page.at(-1)?.workspace_id ?? null, page.length < looksAt, fanout.id],
    );
    const mayWait = fanout.lane === 'live' && fanout.org_id === null;
    await wakeInLanes(trx, new Map(page.filter(({ inside }) => inside).map(({ workspace_id, boots }) => [workspace_id, mayWait && !boots ? 'backfill' : fanout.lane])));
    return true;
  });
}

/** So many that about a page of them is inside. */
function rowsLookedAt({ bucket_from: from, bucket_below: below }: Fanout): number {
  if (from === null || below === null) return pageSize;
  return Math.min(lookedAtMax, Math.ceil((pageSize * bucketCount) / Math.max(1, below - from)));
}
