import { appendAudit } from '../process/audit.ts';
import { tx, type Database, type Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { lockItems } from '../process/locks.ts';
import type { ItemId, RuntimeId } from '../schemas/ids.ts';
import { loadCatalogue } from './lookup.ts';

/**
 * What a workspace of this runtime names that had a template and has none: under this name it is woken when its baseline
 * changes, and the baseline is locked. No item has such a name.
 */
export const baselineName = (runtime: RuntimeId): string => `baseline:${runtime}`;

/** The item that is delivered where a template was cleared; undefined: nothing is (C6). Lock `baselineName` in an earlier statement. */
export async function findBaselineItem(trx: Transaction, runtime: RuntimeId): Promise<ItemId | undefined> {
  const { rows: [row] } = await trx.raw<{ rows: { item_id: ItemId }[] }>('select item_id from runtime_baselines where runtime = ?', [runtime]);
  return row?.item_id;
}

/**
 * Makes an item the baseline of a runtime, or none (C6): it resolves on its channel `stable` like any other, and every org
 * may have it. The workspaces concerned look again; those that run get a restart. The same again changes nothing.
 * @throws Failure input NOT_FOUND, RUNTIME_MISMATCH, FIELD_INVALID (a plugin, an item that is sold or of another seller, no reason)
 */
export async function setBaselineItem(
  database: Database, { runtime, itemId, reason }: { readonly runtime: RuntimeId; readonly itemId: ItemId | null; readonly reason: string },
): Promise<{ readonly changed: boolean; readonly before: ItemId | null }> {
  if (reason.trim() === '') throw new Failure('input', 'FIELD_INVALID', 'reason should say why, but is blank');
  return await tx(database, async (trx) => {
    await lockItems(trx, [baselineName(runtime)], 'exclusive');
    if (itemId !== null) await checkItem(trx, itemId, runtime);
    const before = await findBaselineItem(trx, runtime) ?? null;
    if (before === itemId) return { changed: false, before };
    if (itemId === null) await trx.raw('delete from runtime_baselines where runtime = ?', [runtime]);
    else await trx.raw('insert into runtime_baselines (runtime, item_id) values (?, ?) on conflict (runtime) do update set item_id = excluded.item_id', [runtime, itemId]);
    await appendAudit(trx, [{
      subjectKind: 'item', subjectId: baselineName(runtime), action: 'set baseline', outcome: itemId === null ? 'none' : 'set', detail: { itemId, before, reason },
    }]);
    await trx.raw('insert into fanouts (item_id) values (?)', [baselineName(runtime)]);
    return { changed: true, before };
  });
}

async function checkItem(trx: Transaction, itemId: ItemId, runtime: RuntimeId): Promise<void> {
  const item = (await loadCatalogue(trx, [itemId])).get(itemId);
  if (item === undefined) throw new Failure('input', 'NOT_FOUND', `Not in the catalogue: there is no item ${itemId}`);
  if (item.kind !== 'template' || item.sellerId !== 'platform' || item.access === 'sold') {
    throw new Failure('input', 'FIELD_INVALID', `item should be a template of the platform that every org may have, but ${itemId} is a ${item.kind} of ${item.sellerId}, ${item.access}`);
  }
  if (!item.runtimes.includes(runtime)) throw new Failure('input', 'RUNTIME_MISMATCH', `${itemId} supports ${item.runtimes.join(', ')}, not ${runtime}`);
}
