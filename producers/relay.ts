import { channel } from 'node:diagnostics_channel';

import type { Kafka, Message, Producer } from 'kafkajs';

import type { Database } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import type { Logger } from '../process/log.ts';
import { createNudge, type Nudge } from '../process/nudge.ts';
import type { Codec } from '../schemas/codec.ts';
import { batchBytesMax, encodeRows, type Outgoing } from './encode-row.ts';
import { markSent, readUnsent, refuseRows, type SentRow } from './outbox-rows.ts';
import { partitionOfKey } from './partition-of-key.ts';
import { openShards, type RelayShards } from './relay-shards.ts';

export interface RelayOptions {
  /** The database, and with its search path the schema, whose outbox is published. */
  readonly database: Database;
  readonly kafka: Pick<Kafka, 'producer'>;
  readonly codec: Codec;
  readonly topicPrefix: string;
  readonly log: Logger;
  /** Aborted: what is in flight is finished and marked, then runRelay resolves. */
  readonly signal: AbortSignal;
  /** Nudged after a commit, the relay looks at once. */
  readonly nudge?: Nudge;
  /** Awaited after every new connection to the database, which may have been set back meanwhile, before anything is published (I26). */
  readonly onConnected?: () => Promise<void>;
}

/** Pauses when there is nothing to send: short for a second after work, which seldom comes alone. Milliseconds. */
const pauseAfterWorkMs = 10;
const afterWorkMs = 1000;
const pauseIdleMs = 100;
/** Pauses when a dependency is unwell. Milliseconds. */
const backoffMinMs = 50;
const backoffMaxMs = 2000;
/** Records in one request: kafkajs copies its list for every record of a partition. */
const chunkMax = 1000;

/** What the relay has just done, for tests and metrics: `read`, `refused`, `acked` (a request), `marked`. */
export interface RelayStep {
  readonly step: 'read' | 'refused' | 'acked' | 'marked';
  readonly rows: number;
}
const steps = channel('waybill:relay');
const report = (step: RelayStep['step'], rows: number): void => { if (steps.hasSubscribers) steps.publish({ step, rows } satisfies RelayStep); };

/**
 * The only publisher (A4): takes unsent rows of the shards that it holds, in order, publishes them and marks them once
 * Kafka has acknowledged. Killed at any point it loses nothing; what was acknowledged and not marked is published again
 * with the same event_id (I3, I5). While the next rows are read and encoded, those before are on their way; a row never
 * leaves before an earlier one of its key. Rejects only for a fault; a dependency that is unwell is waited for (I17).
 */
export async function runRelay({ database, kafka, codec, topicPrefix, log, signal, nudge = createNudge(), onConnected }: RelayOptions): Promise<void> {
  const shards = openShards(database, onConnected);
  const publisher = createPublisher(kafka, topicPrefix);
  // Reading, sending and marking go on side by side: 38,000 events a second against 32,000 when sent and marked in turn.
  let [before, onItsWay]: [Batch, Batch] = [nothing, nothing];
  let workedAt = Number.NEGATIVE_INFINITY;
  let backoffMs = backoffMinMs;

  /** One look at the outbox. Returns the number of rows found. */
  async function pass(): Promise<number> {
    if (shards.isBalanceDue()) {
      await Promise.all([before.marked, onItsWay.marked]);
      await shards.balance();
    }
    const rows = await readUnsent(database, shards.held(), [...before.ids, ...onItsWay.ids]);
    if (rows.length > 0) report('read', rows.length);
    const { outgoing, refused } = await encodeRows(rows, codec);
    await Promise.all([before.marked, onItsWay.acknowledged]);
    if (refused.length > 0) {
      await refuseRows(database, refused);
      for (const { row, refusal } of refused) log.warn({ code: refusal.code, outboxId: row.id, type: row.type, eventId: row.eventId }, `refused to publish: ${refusal.message}`);
      report('refused', refused.length);
    }
    [before, onItsWay] = [onItsWay, sendBatch(database, publisher, shards, outgoing)];
    if (rows.length === 0) await before.marked;
    return rows.length;
  }

  try {
    while (!signal.aborted) {
      try {
        const found = await pass();
        backoffMs = backoffMinMs;
        if (found > 0) workedAt = performance.now();
        else await nudge.wait(performance.now() - workedAt < afterWorkMs ? pauseAfterWorkMs : pauseIdleMs, signal);
      } catch (error) {
        if (!(error instanceof Failure) || error.kind !== 'dependency') throw error;
        log.warn({ code: error.code, cure: error.cure, backoffMs }, `the relay waits: ${error.message}`);
        // Rows that were read behind a failed batch are read again, so that the order per key holds.
        await Promise.allSettled([before.marked, onItsWay.marked]);
        [before, onItsWay] = [nothing, nothing];
        await nudge.wait(backoffMs, signal);
        backoffMs = Math.min(backoffMs * 2, backoffMaxMs);
      }
    }
    await Promise.all([before.marked, onItsWay.marked])
      .catch((error: unknown) => { log.warn({ err: error }, 'the relay ends with rows unmarked; they will be published again'); });
  } finally {
    await Promise.all([shards.close(), publisher.close()]);
  }
}

interface Batch {
  readonly ids: readonly number[];
  /** Kafka has all of it; rejected: perhaps not, and nothing behind it may go. */
  readonly acknowledged: Promise<void>;
  /** And the outbox knows. */
  readonly marked: Promise<void>;
}

const nothing: Batch = { ids: [], acknowledged: Promise.resolve(), marked: Promise.resolve() };

/** Sends and then marks, in one statement, what was acknowledged, also when a later request of the batch failed. */
function sendBatch(database: Database, publisher: Publisher, shards: RelayShards, outgoing: readonly Outgoing[]): Batch {
  if (outgoing.length === 0) return nothing;
  const sent: SentRow[] = [];
  const acknowledged = publish(publisher, shards, outgoing, sent);
  const mark = async (): Promise<void> => {
    try {
      await acknowledged;
    } finally {
      await markSent(database, sent);
      if (sent.length > 0) report('marked', sent.length);
    }
  };
  const marked = mark();
  marked.catch(() => undefined); // awaited by a later pass, as is `acknowledged`
  return { ids: outgoing.map(({ row }) => row.id), acknowledged, marked };
}

/** Requests one after the other; `sent` grows with what was acknowledged. */
async function publish(publisher: Publisher, shards: RelayShards, outgoing: readonly Outgoing[], sent: SentRow[]): Promise<void> {
  for (const chunk of cut(outgoing)) {
    const held = new Set(shards.held());
    if (chunk.some(({ row }) => !held.has(row.shard))) throw new Failure('dependency', 'UNAVAILABLE', 'PostgreSQL: the lock on a shard of the outbox was lost; another relay may publish it');
    const { acknowledged, missing } = await publisher.send(chunk);
    sent.push(...acknowledged);
    report('acked', acknowledged.length);
    if (missing > 0) throw new Failure('dependency', 'UNAVAILABLE', `Kafka: ${missing} records were not acknowledged; a partition moved meanwhile`);
  }
}

/** Cuts a batch, in order, so that no topic gets more at once than it takes in one record batch. */
function* cut(outgoing: readonly Outgoing[]): Generator<readonly Outgoing[]> {
  let chunk: Outgoing[] = [];
  let bytesByTopic = new Map<string, number>();
  for (const record of outgoing) {
    const bytes = (bytesByTopic.get(record.topic) ?? 0) + record.bytes;
    if (chunk.length === chunkMax || (chunk.length > 0 && bytes > batchBytesMax(record.topic))) {
      yield chunk;
      chunk = [];
      bytesByTopic = new Map();
    }
    chunk.push(record);
    bytesByTopic.set(record.topic, (bytesByTopic.get(record.topic) ?? 0) + record.bytes);
  }
  if (chunk.length > 0) yield chunk;
}

interface Publisher {
  /** Publishes records of one request. `missing`: how many kafkajs neither sent nor complained about. Throws dependency. */
  send(chunk: readonly Outgoing[]): Promise<{ acknowledged: SentRow[]; missing: number }>;
  close(): Promise<void>;
}

/** Fences the producer of kafkajs 2.2.4; its habits are listed in docs/dependencies.md. */
function createPublisher(kafka: RelayOptions['kafka'], topicPrefix: string): Publisher {
  let current: { producer: Producer; partitions: WeakMap<Message, number> } | undefined;
  const closing = new Set<Promise<void>>();

  async function connect(): Promise<{ producer: Producer; partitions: WeakMap<Message, number> }> {
    const partitions = new WeakMap<Message, number>();
    const producer = kafka.producer({
      idempotent: true,
      allowAutoTopicCreation: false,
      // Its own default of endless retries is dead code. What these do not mend, a fresh producer does.
      retry: { retries: 5, initialRetryTime: 50, maxRetryTime: 500 },
      createPartitioner: () => ({ message, partitionMetadata }) => {
        const partition = partitionOfKey(Buffer.from(message.key ?? ''), partitionMetadata.length);
        partitions.set(message, partition);
        return partition;
      },
    });
    try {
      await producer.connect();
    } catch (error) {
      await producer.disconnect().catch(() => undefined);
      throw error;
    }
    return { producer, partitions };
  }

  /** After any error the sequence numbers are in doubt: the next request has a producer of its own. */
  function discard(): void {
    if (current === undefined) return;
    const end = current.producer.disconnect().catch(() => undefined);
    current = undefined;
    closing.add(end);
    void end.finally(() => closing.delete(end));
  }

  return {
    async send(chunk) {
      const records = chunk.map(({ row, topic, key, value, headers }) => ({ id: row.id, ours: topic, topic: topicPrefix + topic, message: { key, value, headers } satisfies Message }));
      const messagesByTopic = Map.groupBy(records, ({ topic }) => topic);
      const topicMessages = [...messagesByTopic].map(([topic, group]) => ({ topic, messages: group.map(({ message }) => message) }));
      try {
        current ??= await connect();
        const { producer, partitions } = current;
        const metadata = await producer.sendBatch({ topicMessages, acks: -1 });
        const nextOffsets = new Map(metadata.map(({ topicName, partition, baseOffset }) => [`${topicName}/${partition}`, Number(baseOffset ?? -1)]));
        const acknowledged: SentRow[] = [];
        for (const { id, ours, topic, message } of records) {
          const partition = partitions.get(message) ?? -1;
          const place = `${topic}/${partition}`;
          const offset = nextOffsets.get(place);
          // When a leader moves to a broker that has answered already, kafkajs resolves without having sent there.
          if (offset === undefined) continue;
          acknowledged.push({ id, topic: ours, partition, offset: offset < 0 ? null : offset });
          nextOffsets.set(place, offset < 0 ? offset : offset + 1);
        }
        const missing = records.length - acknowledged.length;
        if (missing > 0) discard();
        return { acknowledged, missing };
      } catch (error) {
        discard();
        throw new Failure('dependency', 'UNAVAILABLE', `Kafka: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    },
    async close() {
      discard();
      await Promise.all(closing);
    },
  };
}
