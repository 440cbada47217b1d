import { asDatabaseFailure, type Database, type Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import type { Bucket } from '../entitlements/decide.ts';

/** One partition as one consumer reads it. `topic` is the full name, with its prefix. */
export interface Place {
  readonly consumer: string;
  readonly topic: string;
  readonly partition: number;
  /** Offsets mean nothing in another cluster (I26). */
  readonly clusterId: string;
}

/** What became of a batch; each record is in exactly one (I4). */
export type Counts = Readonly<Record<Bucket | 'deadLettered', number>>;

/** First offset that is there, and the offset that the next record will get. */
export interface LogRange {
  readonly start: number;
  readonly end: number;
}

/** Nobody holds a lock of ours for long; whoever waits this long tries again, rather than for ever. */
const lockTimeoutMs = 10_000;

/** Somebody else has moved the position since it was read: another consumer, a restored database, a rebuild. */
export class PositionLost extends Error {
  override readonly name = 'PositionLost';
}

/**
 * First statement of every batch: holds the row of the position and compares. Whoever holds it is alone with the
 * partition until the transaction ends, so a zombie or a rebalance applies nothing twice (A3). Throws PositionLost.
 */
export async function lockPosition(trx: Transaction, { consumer, topic, partition, clusterId }: Place, held: number): Promise<void> {
  const { rows } = await trx.raw<{ rows: unknown[] }>(
    `select set_config('lock_timeout', '${lockTimeoutMs}', true) from consumer_offsets where consumer = ? and topic = ? and partition = ? and cluster_id = ? and position = ? for update`,
    [consumer, topic, partition, clusterId, held],
  );
  if (rows.length === 0) throw new PositionLost(`${consumer} no longer stands at ${held} of ${topic}/${partition}`);
}

/** Last statement of every batch: the position of the next record, in the transaction of the effects. */
export async function movePosition(trx: Transaction, { consumer, topic, partition }: Place, position: number, counts: Counts): Promise<void> {
  await trx.raw(
    `update consumer_offsets set position = ?, applied = applied + ?, superseded = superseded + ?, duplicate = duplicate + ?,
       conflict = conflict + ?, dead_lettered = dead_lettered + ?
     where consumer = ? and topic = ? and partition = ?`,
    [position, counts.applied, counts.superseded, counts.duplicate, counts.conflict, counts.deadLettered, consumer, topic, partition],
  );
}

/**
 * Where the consumer goes on in each partition of `log`, by partition. One without a position begins at the start of the
 * log: whoever takes the positions away gets everything again (A3). OFFSET_OUT_OF_RANGE when a position is of another
 * cluster or not in the log: going on by guess would skip events or read others under the same numbers.
 */
export async function readPositions(
  database: Database, { consumer, topic, clusterId }: Omit<Place, 'partition'>, log: ReadonlyMap<number, LogRange>,
): Promise<Map<number, number>> {
  const partitions = [...log.keys()];
  try {
    await database.raw(
      `insert into consumer_offsets (consumer, topic, partition, position, cluster_id)
       select ?, ?, partition, start, ? from unnest(?::integer[], ?::bigint[]) as log(partition, start) order by partition
       on conflict do nothing`,
      [consumer, topic, clusterId, partitions, [...log.values()].map(({ start }) => start)],
    );
    const { rows } = await database.raw<{ rows: { partition: number; position: number; cluster_id: string }[] }>(
      'select partition, position, cluster_id from consumer_offsets where consumer = ? and topic = ? and partition = any(?::integer[])',
      [consumer, topic, partitions],
    );
    for (const row of rows) {
      const range = log.get(row.partition);
      const where = `The position ${row.position} of the consumer ${consumer} in ${topic}/${row.partition}`;
      const cure = `If the topic was replaced on purpose, run \`waybill offsets adopt ${consumer}\`: it reads the log that is there from its start, and nothing is applied twice.`;
      if (row.cluster_id !== clusterId) {
        throw new Failure('fault', 'OFFSET_OUT_OF_RANGE', `${where} is of the Kafka cluster ${row.cluster_id}, but this is ${clusterId}. ${cure}`);
      }
      if (range === undefined || row.position < range.start || row.position > range.end) {
        const found = range === undefined ? 'there is no such partition' : `the log goes from ${range.start} to ${range.end}`;
        throw new Failure('fault', 'OFFSET_OUT_OF_RANGE', `${where} is not in the log: ${found}. ${cure}`);
      }
    }
    return new Map(rows.map((row) => [row.partition, row.position]));
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

/**
 * Partitions whose stored position is behind `held`, or gone: the database was set back, or the positions taken away. Without
 * this a partition to which nothing comes would never hear of it (I26, I18).
 */
export async function findSetBack(database: Database, { consumer, topic }: Pick<Place, 'consumer' | 'topic'>, held: ReadonlyMap<number, number>): Promise<number[]> {
  try {
    const { rows } = await database.raw<{ rows: { partition: number }[] }>(
      `select held.partition from unnest(?::integer[], ?::bigint[]) as held(partition, position)
       left join consumer_offsets o on o.consumer = ? and o.topic = ? and o.partition = held.partition
       where o.position is null or o.position < held.position`,
      [[...held.keys()], [...held.values()], consumer, topic],
    );
    return rows.map(({ partition }) => partition);
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

/** `waybill offsets adopt`: forgets the positions of a consumer, so that it reads the log that is there from its start. Returns how many. */
export async function adoptOffsets(database: Database, consumer: string): Promise<number> {
  try {
    return await database('consumer_offsets').where({ consumer }).delete();
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
