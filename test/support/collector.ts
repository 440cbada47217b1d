import { randomBytes } from 'node:crypto';
import type { Kafka } from 'kafkajs';
import { expect } from 'vitest';

import type { TopicName } from '../../schemas/topics.ts';

/** A record as a reader of the topic sees it. */
export interface Collected {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly key: string;
  readonly value: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

/** Reads topics from their beginning, as anybody could, and remembers everything. */
export interface Collector {
  /** In the order of each partition. */
  readonly records: Collected[];
  /** Resolves when what was collected looks as wanted. */
  until(holds: (records: readonly Collected[]) => boolean, deadlineMs?: number): Promise<void>;
  stop(): Promise<void>;
}

export async function collect(kafka: Kafka, topicPrefix: string, topics: readonly TopicName[]): Promise<Collector> {
  const records: Collected[] = [];
  const consumer = kafka.consumer({ groupId: `${topicPrefix}collector-${randomBytes(4).toString('hex')}`, maxWaitTimeInMs: 50 });
  await consumer.connect();
  await consumer.subscribe({ topics: topics.map((topic) => topicPrefix + topic), fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message: { offset, key, value, headers = {} } }) => {
      records.push({
        topic: topic.slice(topicPrefix.length), partition, offset: Number(offset), key: key?.toString() ?? '', value: value ?? Buffer.alloc(0),
        headers: Object.fromEntries(Object.entries(headers).map(([name, header]) => [name, String(header)])),
      });
      await Promise.resolve();
    },
  });
  return {
    records,
    until: async (holds, deadlineMs = 20_000) => { await expect.poll(() => holds(records), { timeout: deadlineMs, interval: 20 }).toBe(true); },
    stop: async () => { await consumer.disconnect(); },
  };
}
