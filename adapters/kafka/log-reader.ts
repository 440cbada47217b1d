import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Consumer, Kafka, KafkaMessage } from 'kafkajs';

import type { LogReader } from '../../consumers/compare-with-topics.ts';
import type { SourceRecord } from '../../consumers/dead-letters.ts';
import type { LogRange } from '../../consumers/positions.ts';
import { asFailure, Failure } from '../../process/failure.ts';
import { askAdmin } from './ask-admin.ts';
import { asKafkaFailure } from './kafka-failure.ts';

/** Records handed on at once: one transaction each. */
const recordsMax = 500;
/** Nothing read for this long, although it is there: given up, and begun anew by whoever asked. */
const idleMs = 20_000;

/**
 * Reads parts of a log once, in a consumer group of its own; it commits nothing, so the broker forgets it. `topicPrefix` also
 * begins the name of the group, so that the ACL of our groups covers it.
 */
export function createLogReader(kafka: Kafka, topicPrefix: string): LogReader {
  return {
    async readRanges(topic) {
      return await askAdmin(kafka, async (admin) => {
        const offsets = await admin.fetchTopicOffsets(topic);
        return new Map(offsets.map(({ partition, low, high }) => [partition, { start: Number(low), end: Number(high) }]));
      });
    },
    async readRecords(topic, parts, onRecords) {
      const consumer = kafka.consumer({ groupId: `${topicPrefix}waybill.reader-${randomUUID()}`, maxWaitTimeInMs: 200, allowAutoTopicCreation: false });
      try {
        await consume(consumer, topic, parts, onRecords);
      } catch (error) {
        throw asKafkaFailure(error);
      } finally {
        await consumer.disconnect().catch(() => undefined);
      }
    },
  };
}

/** Ends when every part was handed on. What `onRecords` throws goes through as it is. */
async function consume(
  consumer: Consumer, topic: string, parts: ReadonlyMap<number, LogRange>, onRecords: (records: readonly SourceRecord[]) => Promise<void>,
): Promise<void> {
  const open = new Set(parts.keys());
  const { promise: over, resolve, reject } = Promise.withResolvers<void>();
  let readAt = performance.now();
  const ended = new AbortController();
  consumer.on(consumer.events.CRASH, ({ payload }) => { reject(payload.error); });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const others = (payload.memberAssignment[topic] ?? []).filter((partition) => !parts.has(partition));
    consumer.pause([{ topic, partitions: others }]);
    for (const [partition, { start }] of parts) consumer.seek({ topic, partition, offset: String(start) });
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async (payload) => {
      const { partition, messages } = payload.batch;
      const part = parts.get(partition);
      if (part === undefined || !open.has(partition)) return;
      const inside = messages.filter(({ offset }) => Number(offset) >= part.start && Number(offset) < part.end);
      try {
        for (let from = 0; from < inside.length; from += recordsMax) {
          const records = inside.slice(from, from + recordsMax);
          await onRecords(records.map(sourceRecordOf));
          payload.resolveOffset(records.at(-1)?.offset ?? '');
          readAt = performance.now();
          await payload.heartbeat();
        }
      } catch (error) {
        reject(asFailure(error)); // a fault stays one
        return;
      }
      if (Number(messages.at(-1)?.offset ?? -1) + 1 >= part.end) open.delete(partition);
      if (open.size === 0) resolve();
    },
  });
  const watch = async (): Promise<void> => {
    while (performance.now() - readAt < idleMs) await delay(500, undefined, { signal: ended.signal });
    throw new Failure('dependency', 'UNAVAILABLE', `Kafka: nothing more of ${topic} came within ${idleMs} ms, and ${open.size} partitions are not read to their end`);
  };
  try {
    await Promise.race([over, watch()]);
  } finally {
    ended.abort();
  }
}

const sourceRecordOf = ({ offset, key, value }: KafkaMessage): SourceRecord => ({ offset: Number(offset), key, value, headers: [] });
