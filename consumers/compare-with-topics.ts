import { republishItems } from '../catalogue/edit-item.ts';
import { raiseCatalogueVersions } from '../catalogue/raise-versions.ts';
import { relearnDeliveries } from '../delivery/relearn-deliveries.ts';
import { raiseRevisions } from '../entitlements/sql.ts';
import { tx, type Database, type Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { lockOrgItems } from '../process/locks.ts';
import type { Logger } from '../process/log.ts';
import type { Codec } from '../schemas/codec.ts';
import type { ItemId } from '../schemas/ids.ts';
import type { EventTypeOn, TypedEvent } from '../schemas/topics.ts';
import type { SourceRecord } from './dead-letters.ts';
import { entitlementsConsumer } from './entitlements.ts';
import type { LogRange } from './positions.ts';
import { workspacesConsumer } from './workspaces.ts';

/** What is asked of the log; `topic` is the full name. Both throw a Failure of kind dependency when Kafka is unwell. */
export interface LogReader {
  /** What is there of each partition. */
  readRanges(topic: string): Promise<ReadonlyMap<number, LogRange>>;
  /** Hands on every record from `start` up to `end` of each partition, some hundreds at a time, in the order of the partition. */
  readRecords(topic: string, parts: ReadonlyMap<number, LogRange>, onRecords: (records: readonly SourceRecord[]) => Promise<void>): Promise<void>;
}

export interface CompareOptions {
  readonly database: Database;
  readonly codec: Pick<Codec, 'decode'>;
  readonly reader: LogReader;
  readonly topicPrefix: string;
  readonly log: Logger;
}

/** What waybill mints versions for. Dead letters carry none. */
const minted = ['waybill.entitlements', 'waybill.catalogue', 'waybill.assets'] as const;
type Minted = TypedEvent<EventTypeOn<(typeof minted)[number]>>;

/** A restored database is not behind by more attempts than this; numbers of workers that outlived it are not given again (I24). */
const attemptsSkipped = 1_000_000;

/** What the database had forgotten. */
interface Forgotten {
  events: number;
  workspaces: number;
  readonly items: Set<ItemId>;
  readonly lost: string[];
  /** How far the topics were read for it. */
  readonly read: { readonly topic: string; readonly partition: number; readonly end: number }[];
}

/**
 * Compares the outbox with its topics, on a server on which that was not done since it started; until then nothing is minted
 * there (migrations/waybill/0009). Where a topic holds events that the outbox does not know, the database was set back: its
 * counters rise above them, deliveries learn what was said and done meanwhile, the catalogue is published again (I26).
 * Nothing to do in a database that mints nothing, as those of producers. Any number of relays may do this at once.
 */
export async function compareWithTopics({ database, codec, reader, topicPrefix, log }: CompareOptions): Promise<void> {
  if (!(await tx(database, isMintingClosed))) return;
  const forgotten: Forgotten = { events: 0, workspaces: 0, items: new Set(), lost: [], read: [] };
  for (const topic of minted) {
    const parts = await readBeyond(database, topic, await reader.readRanges(topicPrefix + topic));
    if (parts.size === 0) continue;
    for (const [partition, { end }] of parts) forgotten.read.push({ topic, partition, end });
    await reader.readRecords(topicPrefix + topic, parts, async (records) => {
      const events = await decodeOurs(codec, topic, records);
      await tx(database, async (trx) => { await learn(trx, await unknownOf(trx, events), forgotten); });
    });
  }
  const inputs = forgotten.events === 0 ? [] : await readEnds(reader, topicPrefix);
  await openMinting(database, forgotten, inputs);
  if (forgotten.events === 0) return;
  const { lost, events, workspaces } = forgotten;
  log.warn({ events, workspaces }, 'the database was set back: the topics hold events that it did not know; versions go on above them');
  // Commands are not in the log, so nothing brings them back by itself.
  if (lost.length > 0) log.error({ lost: lost.slice(0, 100), of: lost.length }, 'the catalogue lacks what was published before the database was set back: publish or decide it again');
}

async function isMintingClosed(trx: Transaction): Promise<boolean> {
  const { rows: [here] } = await trx.raw<{ rows: { mints: boolean }[] }>(`select to_regclass('minting') is not null as mints`);
  if (here?.mints !== true) return false;
  const { rows: [now] } = await trx.raw<{ rows: { open: boolean }[] }>('select minting_is_open() as open');
  return now?.open === false;
}

/** Where the inputs end now. */
async function readEnds(reader: LogReader, topicPrefix: string): Promise<{ topic: string; partition: number; end: number }[]> {
  const ends = await Promise.all([entitlementsConsumer, workspacesConsumer].map(async (consumer) => {
    const topic = topicPrefix + consumer.topic;
    return [...await reader.readRanges(topic)].map(([partition, { start, end }]) => ({ topic, partition, end: end === start ? 0 : end }));
  }));
  return ends.flat().filter(({ end }) => end > 0);
}

/** The part of the log after what the outbox knows. A log that was replaced, and one it never knew, is read from its start. */
async function readBeyond(database: Database, topic: string, log: ReadonlyMap<number, LogRange>): Promise<Map<number, LogRange>> {
  const rows = await tx(database, async (trx) => (await trx.raw<{ rows: { partition: number; end: number }[] }>(
    'select partition, next_offset as "end" from waybill_outbox_ends where topic = ?', [topic],
  )).rows);
  const known = new Map(rows.map(({ partition, end }) => [partition, end]));
  return new Map([...log].flatMap(([partition, { start, end }]) => {
    const from = known.get(partition) ?? start;
    const beyond = from < start || from > end ? start : from;
    return beyond < end ? [[partition, { start: beyond, end }] as const] : [];
  }));
}

/** What cannot be read is not ours: the relay publishes nothing that it could not read back. */
async function decodeOurs(codec: Pick<Codec, 'decode'>, topic: (typeof minted)[number], records: readonly SourceRecord[]): Promise<Minted[]> {
  const events: Minted[] = [];
  for (const { key, value } of records) {
    try {
      events.push(await codec.decode(topic, key, value) as Minted); // the codec refuses events of other topics
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== 'poison') throw error;
    }
  }
  return events;
}

/** Events that are not waiting in the outbox: those that do were published right before a crash, and will be again under the same ids. */
async function unknownOf(trx: Transaction, events: readonly Minted[]): Promise<Minted[]> {
  const { rows } = await trx.raw<{ rows: { id: string }[] }>(
    'select event_id as id from waybill_outbox where sent_at is null and refused_code is null and event_id = any(?::uuid[])', [events.map(({ event }) => event.event_id)],
  );
  const waiting = new Set(rows.map(({ id }) => id));
  return events.filter(({ event }) => !waiting.has(event.event_id));
}

/** In the lock order: delivery rows → (org, item) → item. The events of one call are of one topic. */
async function learn(trx: Transaction, events: readonly Minted[], forgotten: Forgotten): Promise<void> {
  forgotten.events += events.length;
  const assets = events.filter((event) => 'workspace_id' in event.event) as TypedEvent<EventTypeOn<'waybill.assets'>>[]; // of these three topics it alone carries a workspace
  if (assets.length > 0) forgotten.workspaces += await relearnDeliveries(trx, assets);
  const changed = events.filter((event) => event.type === 'EntitlementChanged');
  if (changed.length > 0) {
    await lockOrgItems(trx, changed.map(({ event }) => event), 'exclusive');
    await raiseRevisions(trx, changed.map(({ event }) => ({ orgId: event.org_id, itemId: event.item_id, revision: event.entitlement_revision })));
  }
  const catalogue = events.filter((event) => event.type === 'ItemChanged' || event.type === 'ReleaseChanged' || event.type === 'ChannelMoved');
  if (catalogue.length > 0) {
    for (const { event } of catalogue) forgotten.items.add(event.item_id);
    forgotten.lost.push(...await raiseCatalogueVersions(trx, catalogue));
  }
}

async function openMinting(database: Database, { events, items, read }: Forgotten, inputs: readonly { topic: string; partition: number; end: number }[]): Promise<void> {
  await tx(database, async (trx) => {
    await trx.raw('select 1 from minting for update');
    if (!(await isMintingClosed(trx))) return;
    if (events > 0) await trx.raw(`select setval('attempt_numbers', last_value + ?) from attempt_numbers`, [attemptsSkipped]);
    await trx.raw(
      `update minting set server_started_at = pg_postmaster_start_time(), database_oid = (select oid from pg_database where datname = current_database())`,
    );
    await trx.raw('delete from catching_up');
    await trx.raw('insert into catching_up select * from unnest(?::text[], ?::integer[], ?::bigint[])', columnsOf(inputs));
    await trx.raw(
      `insert into waybill_outbox_ends (topic, partition, next_offset) select * from unnest(?::text[], ?::integer[], ?::bigint[]) order by 1, 2
       on conflict (topic, partition) do update set next_offset = excluded.next_offset`,
      columnsOf(read),
    );
    await republishItems(trx, [...items].toSorted());
  });
}

const columnsOf = (ends: readonly { topic: string; partition: number; end: number }[]): (string[] | number[])[] =>
  [ends.map(({ topic }) => topic), ends.map(({ partition }) => partition), ends.map(({ end }) => end)];
