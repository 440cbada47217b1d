import type { Transaction } from '../process/database.ts';
import { lockItems } from '../process/locks.ts';
import { arrayOf } from '../process/sql-columns.ts';
import type { EventTypeOn, TypedEvent } from '../schemas/topics.ts';

export type CatalogueEvent = TypedEvent<EventTypeOn<'waybill.catalogue'>>;

/**
 * Raises catalogue versions above those of events that a database which was set back has forgotten (I26), also of items that
 * it does not have any more. Commands are not in the log: what they did is lost, and named. Out: each thing that readers of
 * the topic believe and this catalogue does not say, in words for a person.
 */
export async function raiseCatalogueVersions(trx: Transaction, events: readonly CatalogueEvent[]): Promise<string[]> {
  const newest = new Map<string, number>();
  for (const { event } of events) newest.set(event.item_id, Math.max(event.catalogue_version, newest.get(event.item_id) ?? 0));
  // Whoever mints holds the item's lock from its reading to its commit.
  await lockItems(trx, [...newest.keys()], 'exclusive');
  const columns = [arrayOf([...newest.keys()]), arrayOf([...newest.values()])];
  await trx.raw(
    `update items i set catalogue_version = greatest(i.catalogue_version, r.version) from unnest(?::text[], ?::bigint[]) as r(item_id, version) where r.item_id = i.item_id`, columns,
  );
  await trx.raw(
    `insert into forgotten_items as f (item_id, catalogue_version)
     select r.item_id, r.version from unnest(?::text[], ?::bigint[]) as r(item_id, version)
     where not exists (select from items i where i.item_id = r.item_id) order by 1
     on conflict (item_id) do update set catalogue_version = greatest(f.catalogue_version, excluded.catalogue_version)`, columns,
  );
  const believed = new Map(events.toSorted((a, b) => a.event.catalogue_version - b.event.catalogue_version).map((event) => [subjectOf(event), event]));
  const lost: string[] = [];
  for (const [subject, event] of believed) if (!(await stands(trx, event))) lost.push(`${subject}: ${said(event)}`);
  return lost;
}

function subjectOf({ type, event }: CatalogueEvent): string {
  switch (type) {
    case 'ItemChanged': return event.item_id;
    case 'ReleaseChanged': return `${event.item_id}@${event.version}`;
    case 'ChannelMoved': return `${event.item_id} ${event.channel}`;
  }
}

function said({ type, event }: CatalogueEvent): string {
  switch (type) {
    case 'ItemChanged': return event.access;
    case 'ReleaseChanged': return event.status;
    case 'ChannelMoved': return event.version;
  }
}

async function stands(trx: Transaction, { type, event }: CatalogueEvent): Promise<boolean> {
  const [sql, bindings] = type === 'ItemChanged'
    ? ['select from items where item_id = ? and access = ?', [event.item_id, event.access]] as const
    : type === 'ReleaseChanged'
      ? ['select from releases where item_id = ? and version = ? and status = ?', [event.item_id, event.version, event.status]] as const
      : ['select from channels where item_id = ? and channel = ? and version = ?', [event.item_id, event.channel, event.version]] as const;
  return (await trx.raw<{ rowCount: number }>(sql, [...bindings])).rowCount > 0;
}

/** The catalogue_version above which the first one of a new item has to be: 0, unless the topic knew it before a restore. */
export async function forgottenVersion(trx: Transaction, itemId: string): Promise<number> {
  const { rows: [row] } = await trx.raw<{ rows: { version: number }[] }>('select catalogue_version as version from forgotten_items where item_id = ?', [itemId]);
  return row?.version ?? 0;
}
