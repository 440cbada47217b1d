import { randomBytes } from 'node:crypto';
import { PassThrough } from 'node:stream';

import { ConfigResourceTypes, Kafka, logLevel, Partitioners, type Admin } from 'kafkajs';
import pino from 'pino';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';

import { createKafka } from '../../adapters/kafka/client.ts';
import { createRegistry } from '../../adapters/kafka/registry.ts';
import { applyTopics, type AppliedTopic } from '../../adapters/kafka/topics.ts';
import { silentLogger } from '../../process/log.ts';
import { createCodec } from '../../schemas/codec.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { registerSchemas } from '../../schemas/register-schemas.ts';
import { readExample } from '../../schemas/schema-files.ts';
import { eventBytesMax, keyOf, topics, type TypedEvent } from '../../schemas/topics.ts';
import { isolate, type Isolated } from '../support/isolated.ts';

const { kafkaBrokers: brokers, registryUrl } = inject('stack');
const kafka = createKafka({ brokers, clientId: 'topics-test', log: silentLogger });
const names = Object.keys(topics);
let isolated: Isolated;
let admin: Admin;

beforeAll(async () => {
  isolated = await isolate();
  admin = kafka.admin();
  await admin.connect();
});

afterAll(async () => {
  await admin.disconnect();
  await isolated.drop();
});

/** A prefix of this test's own below the file's, so that the tests do not share topics. */
const newPrefix = (): string => `${isolated.topicPrefix}${randomBytes(3).toString('hex')}.`;

const outcomes = (applied: readonly AppliedTopic[]): string[] => applied.map(({ outcome }) => outcome);

async function settingsOf(topic: string): Promise<Record<string, string>> {
  const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }] });
  return Object.fromEntries((resources[0]?.configEntries ?? []).map(({ configName, configValue }) => [configName, configValue]));
}

/** Applying again changes nothing, once the broker that answers has heard of everything. */
const expectSettled = async (prefix: string): Promise<void> => {
  await expect.poll(async () => outcomes(await applyTopics({ admin, prefix, replicationFactor: 1 })), { timeout: 10_000 }).toEqual(names.map(() => 'unchanged'));
};

const partitionsOf = async (topic: string): Promise<number> => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]?.partitions.length ?? 0;

test('an empty cluster gets every topic of the table, and the second time nothing changes', async () => {
  const prefix = newPrefix();
  const first = await applyTopics({ admin, prefix, replicationFactor: 1 });
  expect(first.map(({ name }) => name)).toEqual(names.map((name) => prefix + name).toSorted());
  expect(outcomes(first)).toEqual(names.map(() => 'created'));
  await expectSettled(prefix);
  expect(await partitionsOf(`${prefix}marketplace.entitlements`)).toBe(8);
  expect(await partitionsOf(`${prefix}waybill.dead-letters`)).toBe(1);
  // What a projection is rebuilt from is kept for ever (A3, D2).
  expect(await settingsOf(`${prefix}controlplane.workspaces`)).toMatchObject({ 'retention.ms': '-1', 'retention.bytes': '-1', 'cleanup.policy': 'delete', 'max.message.bytes': String(320 * 1024) });
  expect(await settingsOf(`${prefix}waybill.dead-letters`)).toMatchObject({ 'retention.ms': String(90 * 86_400_000) });
});

test('what differs is set, what is missing is made, and what the table does not name stays', async () => {
  const prefix = newPrefix();
  const topic = `${prefix}waybill.assets`;
  await admin.createTopics({ waitForLeaders: false, topics: [{ topic, numPartitions: 2, replicationFactor: 1, configEntries: [{ name: 'retention.ms', value: '86400000' }, { name: 'segment.ms', value: '3600000' }] }] });
  // A broker answers for what it has heard, which may be a moment behind what the controller has done.
  await expect.poll(async () => (await admin.listTopics()).includes(topic) && (await settingsOf(topic))['segment.ms'], { timeout: 10_000 }).toBe('3600000');
  const applied = await applyTopics({ admin, prefix, replicationFactor: 1 });
  expect(applied.filter(({ outcome }) => outcome === 'created')).toHaveLength(names.length - 1);
  const changed = applied.find(({ name }) => name === topic);
  expect(changed?.changes).toContain('retention.ms 86400000 → -1');
  expect(changed?.changes).toContain('partitions 2 → 8');
  await expect.poll(async () => await settingsOf(topic), { timeout: 10_000 }).toMatchObject({ 'retention.ms': '-1', 'segment.ms': '3600000' });
  await expect.poll(async () => await partitionsOf(topic), { timeout: 10_000 }).toBe(8);
  await expectSettled(prefix);
});

test('partitions are never taken away, and that they are more is said', async () => {
  const prefix = newPrefix();
  await applyTopics({ admin, prefix, replicationFactor: 1 });
  const topic = `${prefix}waybill.dead-letters`;
  await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
  await expect.poll(async () => await partitionsOf(topic), { timeout: 10_000 }).toBe(3);
  const found = (await applyTopics({ admin, prefix, replicationFactor: 1 })).find(({ name }) => name === topic);
  expect(found).toMatchObject({ outcome: 'unchanged', notes: [expect.stringContaining('has 3 partitions')] });
});

test('two that apply at once both succeed', async () => {
  const prefix = newPrefix();
  const other = kafka.admin();
  await other.connect();
  try {
    await Promise.all([applyTopics({ admin, prefix, replicationFactor: 1 }), applyTopics({ admin: other, prefix, replicationFactor: 1 })]);
  } finally {
    await other.disconnect();
  }
  await expectSettled(prefix);
});

test('more copies than brokers is told as a fault of the configuration, and nothing is made', async () => {
  const prefix = newPrefix();
  await expect(applyTopics({ admin, prefix, replicationFactor: 7 })).rejects.toMatchObject({ kind: 'input', code: 'CONFIG_INVALID' });
  expect((await admin.listTopics()).filter((name) => name.startsWith(prefix))).toEqual([]);
});

test('a cluster that cannot be reached is a dependency failure', async () => {
  const gone = new Kafka({ brokers: ['127.0.0.1:1'], retry: { retries: 0 }, logLevel: logLevel.NOTHING }).admin();
  await expect(applyTopics({ admin: gone, prefix: '', replicationFactor: 1 })).rejects.toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
  await gone.disconnect();
});

test('the largest event passes through its topic and reads as it was written; a record beyond the topic\'s limit is refused', async () => {
  const prefix = newPrefix();
  await applyTopics({ admin, prefix, replicationFactor: 1 });
  const registry = createRegistry({ url: registryUrl, timeoutMs: 3_000 });
  await registerSchemas({ registry });
  const codec = createCodec({ registry });
  const ready = parseEvent('AssetsReady', readExample('AssetsReady', 1));
  const spare = eventBytesMax - (await codec.encode(ready)).length - 1;
  const paths = Array.from({ length: Math.floor(spare / 514) }, () => 'p'.repeat(512));
  const largest: TypedEvent = { ...ready, event: { ...ready.event, probe_paths: [...ready.event.probe_paths, ...paths] } };
  const value = await codec.encode(largest);
  expect(value.length).toBeGreaterThan(eventBytesMax - 600);

  const topic = `${prefix}waybill.assets`;
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  const consumer = kafka.consumer({ groupId: `${prefix}reader`, maxWaitTimeInMs: 100 });
  try {
    await Promise.all([producer.connect(), consumer.connect()]);
    await consumer.subscribe({ topic, fromBeginning: true });
    const received = Promise.withResolvers<{ key: Buffer | null; value: Buffer | null }>();
    await consumer.run({ eachMessage: async ({ message }) => { received.resolve({ key: message.key, value: message.value }); } });
    await producer.send({ topic, acks: -1, messages: [{ key: keyOf(largest), value }] });
    const record = await received.promise;
    expect(await codec.decode('waybill.assets', record.key, record.value)).toEqual(largest);
    await expect(producer.send({ topic, acks: -1, messages: [{ key: keyOf(largest), value: randomBytes(330 * 1024) }] })).rejects.toThrow(/larger than the max/u);
  } finally {
    await Promise.all([producer.disconnect(), consumer.disconnect()]);
  }
});

test('what kafkajs calls an error is a warning here, without its stack, and the rest is for debugging', () => {
  const lines = new PassThrough({ encoding: 'utf8' });
  const talkative = createKafka({ brokers, clientId: 'x', log: pino({ level: 'debug' }, lines) });
  talkative.logger().namespace('Connection').error('Connection error', { broker: 'b', stack: 'at somewhere' });
  talkative.logger().info('Joined', { group: 'g' });
  const [first, second] = String(lines.read()).trim().split('\n').map((line): unknown => JSON.parse(line));
  expect(first).toMatchObject({ level: 40, msg: 'Connection error', kafka: 'Connection', detail: { broker: 'b' } });
  expect(JSON.stringify(first)).not.toContain('somewhere');
  expect(second).toMatchObject({ level: 20, msg: 'Joined' });
});
