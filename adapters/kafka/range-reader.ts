import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import type { Consumer, ConsumerCrashEvent, EachBatchPayload, Kafka } from 'kafkajs';

import { Failure } from '../../process/failure.ts';
import type { LogBatch, PartitionLog, RangeReader, Span } from '../../replay/log/range-reader.ts';
import type { TopicName } from '../../schemas/topics.ts';
import { askAdmin } from './ask-admin.ts';
import { asKafkaFailure } from './kafka-failure.ts';

/** Longest that a fetch waits for a record. */
const fetchWaitMs = 100;
const fetchBytesMax = 4 * 1024 * 1024;
const heartbeatMs = 2_000;
/** Nothing read for this long, although it is there: given up. */
const idleMs = 30_000;
const sessionTimeoutMs = 30_000;

/**
 * Reads ranges of the log with kafkajs 2.2.4, whose habits for this end here: a group is needed even to read without one, so
 * each reading has one of its own, commits nothing and deletes it; where it begins is said between joining and the first fetch;
 * handlers never throw anything of ours.
 */
export function createRangeReader({ kafka, topicPrefix }: { readonly kafka: Kafka; readonly topicPrefix: string }): RangeReader {
  return {
    clusterId: async () => await askAdmin(kafka, async (admin) => (await admin.describeCluster()).clusterId),
    partitions: async (topic) => await askAdmin(kafka, async (admin) =>
      (await admin.fetchTopicOffsets(topicPrefix + topic)).map(({ partition, low, high }): PartitionLog => ({ partition, start: Number(low), end: Number(high) }))
        .toSorted((a, b) => a.partition - b.partition)),
    offsetsAt: async (topic, time) => await askAdmin(kafka, async (admin) =>
      new Map((await admin.fetchTopicOffsetsByTimestamp(topicPrefix + topic, time)).map(({ partition, offset }) => [partition, Number(offset)]))),
    read: async (topic, spans, onBatch) => {
      const open = spans.filter(({ from, to }) => from < to);
      if (open.length === 0) return;
      const groupId = `${topicPrefix}waybill.replay.${randomUUID()}`;
      try {
        await new Reading(kafka, topicPrefix, topic, open, onBatch).run(groupId);
      } finally {
        // A broker that is away keeps an empty group, which it forgets by itself.
        await askAdmin(kafka, async (admin) => { await admin.deleteGroups([groupId]); }).catch(() => undefined);
      }
    },
  };
}

/** One pass over some spans. */
class Reading {
  readonly #kafka: Kafka;
  readonly #topic: string;
  readonly #onBatch: (batch: LogBatch) => Promise<void>;
  readonly #over = Promise.withResolvers<void>();
  /** By partition: the next offset to hand over, and where it ends. Gone once it is done. */
  readonly #open: Map<number, { next: number; readonly to: number }>;
  #isOver = false;
  /** performance.now() of the last batch; Infinity while one is being handled, which may wait for live traffic. */
  #readAt = performance.now();

  constructor(kafka: Kafka, topicPrefix: string, topic: TopicName, spans: readonly Span[], onBatch: (batch: LogBatch) => Promise<void>) {
    this.#kafka = kafka;
    this.#topic = topicPrefix + topic;
    this.#onBatch = onBatch;
    this.#open = new Map(spans.map(({ partition, from, to }) => [partition, { next: from, to }]));
  }

  async run(groupId: string): Promise<void> {
    const consumer = this.#kafka.consumer({
      groupId, sessionTimeout: sessionTimeoutMs, heartbeatInterval: heartbeatMs, maxWaitTimeInMs: fetchWaitMs, maxBytesPerPartition: fetchBytesMax,
      allowAutoTopicCreation: false, retry: { retries: 10, restartOnFailure: async () => await Promise.resolve(false) },
    });
    consumer.on(consumer.events.CRASH, ({ payload }: ConsumerCrashEvent) => { this.#over.reject(asKafkaFailure(payload.error)); });
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      const others = (payload.memberAssignment[this.#topic] ?? []).filter((partition) => !this.#open.has(partition));
      consumer.pause([{ topic: this.#topic, partitions: others }]);
      for (const [partition, { next }] of this.#open) consumer.seek({ topic: this.#topic, partition, offset: String(next) });
    });
    this.#start(consumer).catch((error: unknown) => { this.#over.reject(asKafkaFailure(error)); });
    const watch = setInterval(() => {
      if (performance.now() - this.#readAt > idleMs) {
        this.#over.reject(new Failure('dependency', 'UNAVAILABLE', `Kafka: nothing more of ${this.#topic} came within ${idleMs} ms, and ${this.#open.size} partitions are not read to their end`));
      }
    }, heartbeatMs);
    try {
      await this.#over.promise;
    } finally {
      clearInterval(watch);
      this.#isOver = true;
      await Promise.race([consumer.disconnect().catch(() => undefined), delay(15_000, undefined, { ref: false })]);
    }
  }

  async #start(consumer: Consumer): Promise<void> {
    await consumer.connect();
    await consumer.subscribe({ topics: [this.#topic], fromBeginning: true });
    await consumer.run({
      autoCommit: false, eachBatchAutoResolve: false, partitionsConsumedConcurrently: 1,
      eachBatch: async (payload) => { await this.#onFetched(payload, consumer); },
    });
  }

  async #onFetched(payload: EachBatchPayload, consumer: Consumer): Promise<void> {
    const { batch } = payload;
    const span = this.#open.get(batch.partition);
    if (span === undefined || this.#isOver) return;
    const first = Number(batch.messages[0]?.offset ?? span.next);
    // A gap at the end of the span: what comes is behind it.
    if (first >= span.to) return this.#finish(batch.partition, consumer);
    const records = batch.messages.map(({ offset, key, value }) => ({ offset: Number(offset), key, value })).filter(({ offset }) => offset >= span.next && offset < span.to);
    const next = Math.min(Number(batch.lastOffset()) + 1, span.to);
    const beats = setInterval(() => { payload.heartbeat().catch(() => undefined); }, heartbeatMs);
    this.#readAt = Infinity;
    try {
      await this.#onBatch({ partition: batch.partition, records, next });
    } catch (error) {
      this.#isOver = true;
      this.#over.reject(error);
      return;
    } finally {
      clearInterval(beats);
      this.#readAt = performance.now();
    }
    span.next = next;
    payload.resolveOffset(batch.lastOffset());
    if (next >= span.to) this.#finish(batch.partition, consumer);
  }

  #finish(partition: number, consumer: Consumer): void {
    this.#open.delete(partition);
    consumer.pause([{ topic: this.#topic, partitions: [partition] }]);
    if (this.#open.size === 0) this.#over.resolve();
  }
}
