import type { Transaction } from './database.ts';
import { arrayOf } from './sql-columns.ts';

/**
 * Transaction-level advisory locks on 64-bit hashes of names, taken sorted by hash so that two takers never wait for
 * each other in a circle. Not row locks FOR SHARE: sharers overtook a waiting writer by a second and more (measured).
 * Order everywhere: offset → delivery row → record row → (org, item) → item → pending.
 */
async function lock(trx: Transaction, names: readonly string[], mode: 'shared' | 'exclusive'): Promise<void> {
  if (names.length === 0) return;
  const take = mode === 'shared' ? 'pg_advisory_xact_lock_shared' : 'pg_advisory_xact_lock';
  await trx.raw(
    `select ${take}(k) from (select distinct hashtextextended(name, 0) as k from unnest(?::text[]) name order by k) sorted`,
    [arrayOf(names)],
  );
}

export interface OrgItem {
  readonly org_id: string;
  readonly item_id: string;
}

/** Folds and expiry take it exclusive; start, staged, permit and finish shared. */
export const lockOrgItems = async (trx: Transaction, pairs: readonly OrgItem[], mode: 'shared' | 'exclusive'): Promise<void> =>
  await lock(trx, pairs.map((pair) => `org-item:${pair.org_id}/${pair.item_id}`), mode);

/** Every catalogue write takes it exclusive (it covers the item, its channels and releases); readers shared. */
export const lockItems = async (trx: Transaction, items: readonly string[], mode: 'shared' | 'exclusive'): Promise<void> =>
  await lock(trx, items.map((item) => `item:${item}`), mode);
