import { appendEvents } from '../producers/outbox.ts';
import { appendAudit, type AuditRow } from '../process/audit.ts';
import { tx, type Database, type Transaction } from '../process/database.ts';
import { lockItems } from '../process/locks.ts';
import type { Lane } from '../process/pending.ts';
import { deriveEventId, type Channel, type ItemId, type Version } from '../schemas/ids.ts';
import type { TypedEvent } from '../schemas/topics.ts';
import { loadCatalogue, type CatalogueEntry, type CatalogueItem, type CatalogueRelease } from './lookup.ts';
import { forgottenVersion } from './raise-versions.ts';

/** Something that is so from now on; each becomes one event with a version of its own. */
export type CatalogueFact =
  | { readonly type: 'ItemChanged'; readonly item: Omit<CatalogueItem, 'catalogueVersion'> }
  | { readonly type: 'ReleaseChanged'; readonly release: CatalogueRelease }
  | { readonly type: 'ChannelMoved'; readonly channel: Channel; readonly version: Version };

export interface ItemEdit<T> {
  readonly result: T;
  /** In order; none when nothing changed. */
  readonly facts: readonly CatalogueFact[];
  readonly audit: readonly Omit<AuditRow, 'causedBy' | 'attempt' | 'orgId'>[];
  /** Whether another release may resolve now: then every workspace that names or holds the item looks again, in this lane. */
  readonly wakes: Lane | null;
  /** Only those in these buckets of a rollout look again; absent: all. */
  readonly among?: BucketRange;
}

/** Buckets of a rollout, from `from` to below `below` (catalogue/rollout.ts). */
export interface BucketRange {
  readonly seed: string;
  readonly from: number;
  readonly below: number;
}

/**
 * One change of an item, its channels and its releases, alone on that item: what `edit` wrote, the versions minted for its
 * facts, audit, events and the fan-out commit together or not at all (A4, B3). `entry` is the item as it stands under the
 * lock, undefined when it is not registered. No network calls in `edit`.
 * @throws Failure as tx, and what `edit` throws
 */
export async function editItem<T>(
  database: Database, itemId: ItemId, edit: (trx: Transaction, entry: CatalogueEntry | undefined) => Promise<ItemEdit<T>>,
): Promise<T> {
  return await tx(database, async (trx) => {
    await lockItems(trx, [itemId], 'exclusive');
    const entry = (await loadCatalogue(trx, [itemId])).get(itemId);
    const { result, facts, audit, wakes, among } = await edit(trx, entry);
    await publishFacts(trx, itemId, entry?.catalogueVersion ?? await forgottenVersion(trx, itemId), facts);
    await appendAudit(trx, audit);
    if (wakes !== null) {
      await trx.raw(
        // Also who waits for it as the baseline of a runtime, and so names it by another name (C6).
        `insert into fanouts (item_id, lane, seed, bucket_from, bucket_below)
         select concerned, ?, ?::uuid, ?, ? from (select ?::text as concerned union all select 'baseline:' || runtime from runtime_baselines where item_id = ?) c`,
        [wakes, among?.seed ?? null, among?.from ?? null, among?.below ?? null, itemId, itemId],
      );
    }
    return result;
  });
}

/**
 * Publishes what stands of these items under new versions, because readers of the topic know more than the database does
 * since it was set back (I26); whoever names or holds one looks again.
 */
export async function republishItems(trx: Transaction, itemIds: readonly ItemId[]): Promise<void> {
  await lockItems(trx, itemIds, 'exclusive');
  for (const { channels, releases, catalogueVersion, ...item } of (await loadCatalogue(trx, itemIds)).values()) {
    await publishFacts(trx, item.itemId, catalogueVersion, [
      { type: 'ItemChanged', item },
      ...[...releases.values()].map((release) => ({ type: 'ReleaseChanged', release }) as const),
      ...[...channels].map(([channel, version]) => ({ type: 'ChannelMoved', channel, version }) as const),
    ]);
    await trx.raw('insert into fanouts (item_id, lane) values (?, ?)', [item.itemId, 'live']);
  }
}

async function publishFacts(trx: Transaction, itemId: ItemId, before: number, facts: readonly CatalogueFact[]): Promise<void> {
  if (facts.length === 0) return;
  await trx.raw('update items set catalogue_version = ? where item_id = ?', [before + facts.length, itemId]);
  const occurredAt = await readClock(trx);
  await appendEvents(trx, facts.map((fact, i) => eventOf(itemId, fact, before + 1 + i, occurredAt)));
}

async function readClock(trx: Transaction): Promise<number> {
  const { rows } = await trx.raw<{ rows: { ms: number }[] }>('select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as ms');
  return rows[0]?.ms ?? 0;
}

function eventOf(itemId: ItemId, fact: CatalogueFact, catalogueVersion: number, occurredAt: number): TypedEvent<'ItemChanged' | 'ReleaseChanged' | 'ChannelMoved'> {
  const envelope = {
    event_id: deriveEventId(fact.type, itemId, catalogueVersion), occurred_at: occurredAt, caused_by: null, run_id: null,
    item_id: itemId, catalogue_version: catalogueVersion,
  };
  switch (fact.type) {
    case 'ItemChanged': {
      const { kind, sellerId, access, runtimes } = fact.item;
      return { type: fact.type, event: { ...envelope, kind, seller_id: sellerId, access, runtimes } };
    }
    case 'ReleaseChanged': {
      const { version, status, archiveSha256, archiveBytes, files } = fact.release;
      return { type: fact.type, event: { ...envelope, version, status, archive_sha256: archiveSha256, archive_bytes: archiveBytes, files } };
    }
    case 'ChannelMoved':
      return { type: fact.type, event: { ...envelope, channel: fact.channel, version: fact.version } };
  }
}
