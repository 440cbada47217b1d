import { setTimeout as delay } from 'node:timers/promises';

import { asDatabaseFailure, tx, type Database } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { deriveEventId } from '../schemas/ids.ts';
import { isTopic } from '../schemas/topics.ts';
import { appendBytes } from './outbox.ts';

/** A row of the outbox that is yet to be published. */
export interface OutboxRow {
  readonly id: number;
  readonly shard: number;
  readonly eventId: string;
  readonly topic: string;
  readonly key: string;
  readonly type: string;
  /** An event, as the text of its JSON; null when `value` is there. */
  readonly body: string | null;
  readonly value: Buffer | null;
  readonly headers: unknown;
}

/** What Kafka acknowledged. `offset` is null when the broker does not say (a repeat that it had already). */
export interface SentRow {
  readonly id: number;
  /** Without the prefix. */
  readonly topic: string;
  readonly partition: number;
  readonly offset: number | null;
}

/** A row that can never be published, and why. */
export interface RefusedRow {
  readonly row: OutboxRow;
  readonly refusal: Failure;
}

/** Rows read at once, and their bytes. One row more is let in, so that the largest moves too (I22). */
const rowsMax = 2000;
const bytesMax = 8 * 1024 * 1024;

/**
 * The first unsent rows of each shard, in order, less those `inFlight`. Never "after the last id": ids are taken before
 * their transactions commit, so a smaller one may appear later.
 */
export async function readUnsent(database: Database, shards: readonly number[], inFlight: readonly number[]): Promise<OutboxRow[]> {
  if (shards.length === 0) return [];
  try {
    const result = await database.raw<{ rows: OutboxRow[] }>(
      `select id, shard, event_id as "eventId", topic, key, type, body::text, value, headers from (
         select unsent.*, sum(size) over (order by id) - size as before
         from unnest(cast(:shards as smallint[])) s(shard) cross join lateral (
           -- The size as read, not as stored: a body compresses by up to 90. Only what is compressed is unpacked to be measured.
           select *, case when pg_column_compression(body) is null then coalesce(pg_column_size(body), 0) else octet_length(body::text) end
             + coalesce(octet_length(value), 0) as size
           from waybill_outbox o
           where o.shard = s.shard and sent_at is null and refused_code is null and id <> all(cast(:inFlight as bigint[]))
           -- id + 0 is what the index of unsent rows is on (migrations/outbox/0004).
           order by id + 0 limit :shardRowsMax) unsent
         order by id limit :rowsMax) sized
       where before <= :bytesMax order by id`,
      // Twice a shard's part, so that an uneven load still fills the batch.
      { shards: [...shards], inFlight: [...inFlight], rowsMax, bytesMax, shardRowsMax: Math.ceil((2 * rowsMax) / shards.length) },
    );
    return result.rows;
  } catch (error) {
    throw asRelayFailure(error);
  }
}

/** Marks rows as sent, with where they are, and notes up to where each partition is known (I26). */
export async function markSent(database: Database, sent: readonly SentRow[]): Promise<void> {
  if (sent.length === 0) return;
  const ends = endsOf(sent);
  try {
    await database.raw(
      `with marked as (
         update waybill_outbox o set sent_at = clock_timestamp(), sent_partition = s.partition, sent_offset = nullif(s."offset", -1)
         from unnest(?::bigint[], ?::integer[], ?::bigint[]) s(id, partition, "offset") where o.id = s.id and o.sent_at is null
       )
       insert into waybill_outbox_ends as held (topic, partition, next_offset)
       select topic, partition, next_offset from unnest(?::text[], ?::integer[], ?::bigint[]) as e(topic, partition, next_offset) order by topic, partition
       on conflict (topic, partition) do update set next_offset = excluded.next_offset where held.next_offset < excluded.next_offset`,
      [
        sent.map(({ id }) => id), sent.map(({ partition }) => partition), sent.map(({ offset }) => offset ?? -1),
        ends.map(({ topic }) => topic), ends.map(({ partition }) => partition), ends.map(({ nextOffset }) => nextOffset),
      ],
    );
  } catch (error) {
    throw asRelayFailure(error);
  }
}

/** The offset after the last one of each partition. */
function endsOf(sent: readonly SentRow[]): { topic: string; partition: number; nextOffset: number }[] {
  const ends = new Map<string, { topic: string; partition: number; nextOffset: number }>();
  for (const { topic, partition, offset } of sent) {
    const place = `${topic}/${partition}`;
    if (offset !== null && offset >= (ends.get(place)?.nextOffset ?? 0)) ends.set(place, { topic, partition, nextOffset: offset + 1 });
  }
  return [...ends.values()];
}

/** Marks rows as refused and appends their dead letters, in one transaction; the next rows of their keys go on (I17). */
export async function refuseRows(database: Database, refused: readonly RefusedRow[]): Promise<void> {
  try {
    await tx(database, async (trx) => {
      const result = await trx.raw<{ rows: { id: number }[] }>(
        `update waybill_outbox o set refused_code = r.code, refused_reason = r.reason
         from json_to_recordset(?::json) as r(id bigint, code text, reason text)
         where o.id = r.id and o.sent_at is null and o.refused_code is null returning o.id`,
        [JSON.stringify(refused.map(({ row, refusal }) => ({ id: row.id, code: refusal.code, reason: storable(refusal.message) })))],
      );
      const fresh = new Set(result.rows.map(({ id }) => id));
      // A row of bytes is a dead letter itself: it stays marked in the outbox, with its bytes.
      await appendBytes(trx, refused.flatMap(({ row, refusal }) => (fresh.has(row.id) && row.body !== null ? [deadLetterOf(row, row.body, refusal)] : [])));
    });
  } catch (error) {
    throw asRelayFailure(error);
  }
}

const storable = (text: string): string => text.slice(0, 2000).toWellFormed().replaceAll('\0', '�');

function deadLetterOf(row: OutboxRow, body: string, refusal: Failure): Parameters<typeof appendBytes>[1][number] {
  return {
    topic: 'waybill.dead-letters',
    key: row.key.slice(0, 1000),
    value: Buffer.from(body),
    headers: {
      'event-type': row.type.slice(0, 200),
      'event-id': row.eventId,
      'waybill-consumer': 'relay',
      'waybill-source': `${isTopic(row.topic) ? row.topic : 'unknown topic'}, outbox row ${row.id}`,
      'waybill-code': refusal.code,
      'waybill-reason': storable(refusal.message),
    },
    eventId: deriveEventId('DeadLetter', `relay/${row.eventId}`, row.id),
    type: 'DeadLetter',
  };
}

/** Deadlocks, lock timeouts and cancelled statements pass as well; the next try does the same again. */
function asRelayFailure(error: unknown): unknown {
  const failure = asDatabaseFailure(error);
  const code = failure instanceof Error && 'code' in failure ? String(failure.code) : '';
  if (failure instanceof Failure || !/^(?:40|55P03|57014)/u.test(code)) return failure;
  return new Failure('dependency', 'UNAVAILABLE', `PostgreSQL: ${failure instanceof Error ? failure.message : code}`, { cause: failure });
}

/**
 * Resolves when everything committed so far has left the outbox (sent or refused); looks every 10 ms.
 * UNAVAILABLE (dependency) when that has not come about within `timeoutMs`.
 */
export async function outboxDrained(database: Database, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const result = await database.raw<{ rows: { unsent: boolean }[] }>(
      'select exists (select from waybill_outbox where sent_at is null and refused_code is null) as unsent',
    );
    if (result.rows[0]?.unsent === false) return;
    if (performance.now() > deadline) {
      throw new Failure('dependency', 'UNAVAILABLE', `The outbox still holds unsent rows after ${timeoutMs} ms. Look whether a relay runs on this database and what it logs.`);
    }
    await delay(10);
  }
}

