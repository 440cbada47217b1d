import type { Kafka, Message } from 'kafkajs';
import { expect, inject, vi } from 'vitest';

import { createKafka } from '../../adapters/kafka/client.ts';
import { createRegistry } from '../../adapters/kafka/registry.ts';
import { applyTopics } from '../../adapters/kafka/topics.ts';
import { runConsumer, type RunConsumerOptions } from '../../consumers/run-consumer.ts';
import type { ConsumerDefinition } from '../../consumers/settle.ts';
import { openDatabase, type Database } from '../../process/database.ts';
import { silentLogger } from '../../process/log.ts';
import { migrate } from '../../process/migrate.ts';
import { createCodec, type Codec } from '../../schemas/codec.ts';
import { createKnownSchemas } from '../../schemas/known-schemas.ts';
import { registerSchemas } from '../../schemas/register-schemas.ts';
import { keyOf, topicOf, type TopicName, type TypedEvent } from '../../schemas/topics.ts';
import { isolate, type Isolated } from './isolated.ts';

/** A database with waybill's tables and nothing else, for what needs no Kafka. */
export interface TestDatabase {
  readonly database: Database;
  drop(): Promise<void>;
}

export async function createTestDatabase(): Promise<TestDatabase & { isolated: Isolated }> {
  const isolated = await isolate();
  const database = openDatabase(isolated.databaseUrl, { name: 'test' });
  await migrate(database, ['outbox', 'waybill']);
  return {
    database,
    isolated,
    async drop() {
      await database.destroy();
      await isolated.drop();
    },
  };
}

/** A consumer that runs in this process. */
export interface RunningConsumer {
  /** Rejects with what stops the process; resolves when it was stopped. */
  readonly done: Promise<void>;
  stop(): Promise<void>;
}

/** What tells a consumer's positions from another's. */
export type NamedConsumer = Pick<ConsumerDefinition, 'name' | 'topic'>;

/** Database, topics, schemas and a producer, all of this file alone. */
export interface TestPipeline extends TestDatabase {
  readonly isolated: Isolated;
  readonly kafka: Kafka;
  readonly codec: Codec;
  /** Publishes events in order, each under its key. */
  publish(...events: TypedEvent[]): Promise<void>;
  /** Publishes records as they are. */
  publishRaw(topic: TopicName, messages: Message[]): Promise<void>;
  run<T extends TopicName>(definition: ConsumerDefinition<T>, overrides?: Partial<RunConsumerOptions>): RunningConsumer;
  /** Resolves when the consumer's stored positions are at the end of its topic. */
  settled(definition: NamedConsumer, deadlineMs?: number): Promise<void>;
  /** The offset that the next record will get, by partition. */
  logEnds(topic: TopicName): Promise<Map<number, number>>;
  /** Records in the topic. */
  logLength(topic: TopicName): Promise<number>;
}

export async function startPipeline(): Promise<TestPipeline> {
  const context = await createTestDatabase();
  const { database, isolated } = context;
  const { kafkaBrokers, registryUrl } = inject('stack');
  const kafka = createKafka({ brokers: kafkaBrokers, clientId: 'test', log: silentLogger });
  const registry = createRegistry({ url: registryUrl, timeoutMs: 5_000 });
  await registerSchemas({ registry });
  const codec = createCodec({ registry, known: createKnownSchemas(database, registryUrl) });
  const admin = kafka.admin();
  await admin.connect();
  await applyTopics({ admin, prefix: isolated.topicPrefix, replicationFactor: 1 });
  // Idempotent, so that a retry against a young topic does not write a record twice.
  const producer = kafka.producer({ allowAutoTopicCreation: false, idempotent: true });
  await producer.connect();
  const running = new Set<RunningConsumer>();

  const ends = async (topic: TopicName): Promise<Map<number, number>> => {
    // A young topic's leader may still be changing.
    const offsets = await vi.waitFor(async () => await admin.fetchTopicOffsets(isolated.topicPrefix + topic), { timeout: 10_000, interval: 50 });
    return new Map(offsets.map(({ partition, high }) => [partition, Number(high)]));
  };

  return {
    database,
    isolated,
    kafka,
    codec,
    async publish(...events) {
      const encoded = await Promise.all(events.map(async (event) => ({ topic: topicOf(event.type), message: { key: keyOf(event), value: await codec.encode(event) } })));
      for (const [topic, messages] of Map.groupBy(encoded, ({ topic }) => topic)) {
        // A request is one batch a partition, and a batch is at most a message's size.
        for (let from = 0; from < messages.length; from += 500) {
          await producer.send({ topic: isolated.topicPrefix + topic, acks: -1, messages: messages.slice(from, from + 500).map(({ message }) => message) });
        }
      }
    },
    async publishRaw(topic, messages) {
      await producer.send({ topic: isolated.topicPrefix + topic, acks: -1, messages });
    },
    run(definition, overrides = {}) {
      const abort = new AbortController();
      const done = runConsumer(definition, {
        database, codec, kafka, log: silentLogger, topicPrefix: isolated.topicPrefix, signal: abort.signal, sessionTimeoutMs: 10_000, ...overrides,
      });
      done.catch(() => undefined); // looked at by whoever waits for it
      const consumer: RunningConsumer = {
        done,
        async stop() {
          running.delete(consumer);
          abort.abort();
          await done.catch(() => undefined);
        },
      };
      running.add(consumer);
      return consumer;
    },
    async settled({ name, topic }, deadlineMs = 30_000) {
      const wanted = [...await ends(topic)];
      await vi.waitFor(async () => {
        const { rows } = await database.raw<{ rows: { partition: number; position: number }[] }>(
          'select partition, position from consumer_offsets where consumer = ? and topic = ? order by partition', [name, isolated.topicPrefix + topic],
        );
        expect(rows.map(({ partition, position }) => [partition, position])).toEqual(wanted.toSorted(([a], [b]) => a - b));
      }, { timeout: deadlineMs, interval: 25 });
    },
    logEnds: ends,
    async logLength(topic) {
      return [...(await ends(topic)).values()].reduce((sum, end) => sum + end, 0);
    },
    async drop() {
      await Promise.all([...running].map(async (consumer) => { await consumer.stop(); }));
      await Promise.all([producer.disconnect(), admin.disconnect()]);
      await context.drop();
    },
  };
}

/** What became of everything before the stored positions, over all partitions (I4). */
export async function countsOf(database: Database, consumer: string): Promise<Record<string, number>> {
  const { rows } = await database.raw<{ rows: [Record<string, number>] }>(
    `select sum(position)::bigint as accepted, sum(applied)::bigint as applied, sum(superseded)::bigint as superseded, sum(duplicate)::bigint as duplicate,
       sum(conflict)::bigint as conflict, sum(dead_lettered)::bigint as "deadLettered"
     from consumer_offsets where consumer = ?`, [consumer],
  );
  return rows[0];
}
