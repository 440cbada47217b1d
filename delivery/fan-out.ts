import { tx, type Database } from '../process/database.ts';
import { wake, type Lane } from '../process/pending.ts';

/** Workspaces woken in one transaction: short enough to hold up nobody who works on one of them. */
const pageSize = 500;

/**
 * Wakes the next page of workspaces that an item concerns, after a catalogue write (B3) or a change of an entitlement that many hold left its fan-out row. Page and
 * cursor move in one transaction, so a crash between pages repeats none and skips none. False: no row is open.
 */
export async function wakeNextPage(database: Database): Promise<boolean> {
  return await tx(database, async (trx) => {
    const { rows: [fanout] } = await trx.raw<{ rows: { id: number; item_id: string; org_id: string | null; lane: Lane; cursor: string }[] }>(
      // What is urgent overtakes every page of what is not (C13).
      `select id, item_id, org_id, lane, cursor from fanouts where done_at is null order by lane <> 'urgent', id limit 1 for update skip locked`,
    );
    if (fanout === undefined) return false;
    const { rows: page } = await trx.raw<{ rows: { workspace_id: string }[] }>(
      `select distinct workspace_id from workspace_items
       where item_id = ? and org_id = coalesce(?::uuid, org_id) and workspace_id > ? order by workspace_id limit ?`,
      [fanout.item_id, fanout.org_id, fanout.cursor, pageSize],
    );
    const last = page.at(-1);
    await trx.raw(
      'update fanouts set cursor = coalesce(?::uuid, cursor), done_at = case when ? then clock_timestamp() end where id = ?',
      [last?.workspace_id ?? null, page.length < pageSize, fanout.id],
    );
    await wake(trx, page.map((row) => row.workspace_id), fanout.lane);
    return true;
  });
}
