import { connect } from 'node:net';

import { Kafka, logLevel } from 'kafkajs';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, inject, test, vi } from 'vitest';

import { entitlementsConsumer } from '../../consumers/entitlements.ts';
import { readPositions, type Place } from '../../consumers/positions.ts';
import { settleBatch, type Batch } from '../../consumers/settle.ts';
import { openDatabase } from '../../process/database.ts';
import { lockOrgItems } from '../../process/locks.ts';
import { silentLogger } from '../../process/log.ts';
import { parsePurchaseId } from '../../schemas/ids.ts';
import { keyOf } from '../../schemas/topics.ts';
import { items, orgs, purchase, revoke } from '../support/histories.ts';
import { countsOf, startPipeline, type TestPipeline } from '../support/pipeline.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

let pipeline: TestPipeline;
let proxy: TcpProxy | undefined;
beforeEach(async () => { pipeline = await startPipeline(); });
afterEach(async () => {
  await pipeline.drop();
  await proxy?.close();
  proxy = undefined;
});

const rowsOf = async <R>(sql: string): Promise<R[]> => (await pipeline.database.raw<{ rows: R[] }>(sql)).rows;
const many = (count: number, entitlement_version = 1): ReturnType<typeof purchase>[] =>
  Array.from({ length: count }, (_, n) => purchase({ purchase_id: parsePurchaseId(`p-${n}`), entitlement_version }));

/** The pipeline's database behind a hop that can be cut. */
async function openBehindProxy(): Promise<{ database: ReturnType<typeof openDatabase>; proxy: TcpProxy }> {
  const url = new URL(pipeline.isolated.databaseUrl);
  const hop = await startTcpProxy(url.hostname, Number(url.port));
  proxy = hop;
  url.hostname = '127.0.0.1';
  url.port = String(hop.port);
  return { database: openDatabase(url.href, { name: 'behind-proxy' }), proxy: hop };
}

describe('the commit of a batch', () => {
  const place: Place = { consumer: 'entitlements', topic: 'a-topic', partition: 0, clusterId: 'a-cluster' };
  const batchOf = async (events: ReturnType<typeof purchase>[], held = 0): Promise<Batch> => ({
    place,
    held,
    next: held + events.length,
    records: await Promise.all(events.map(async (event, n) => ({
      offset: held + n, key: Buffer.from(keyOf(event)), value: await pipeline.codec.encode(event), headers: [],
    }))),
  });
  const options = (): Parameters<typeof settleBatch>[1] => ({ database: pipeline.database, codec: pipeline.codec, log: silentLogger });
  beforeEach(async () => { await readPositions(pipeline.database, place, new Map([[0, { start: 0, end: 100 }]])); });

  test('A3: of two that hold the same batch one applies it, and the other is told that it has lost the partition', async () => {
    const batch = await batchOf(many(10));
    const outcomes = await Promise.all([1, 2, 3].map(async () => await settleBatch(entitlementsConsumer, options(), batch)));
    expect(outcomes.map(({ kind }) => kind).toSorted()).toEqual(['lost', 'lost', 'moved']);
    expect(await rowsOf('select from audit')).toHaveLength(10);
    expect(await countsOf(pipeline.database, 'entitlements')).toMatchObject({ accepted: 10, applied: 10 });
  });

  test('A3: a zombie that wakes up in the middle of its transaction, after its partition went on, applies nothing', async () => {
    const old = await batchOf(many(10));
    const holder = await pipeline.database.transaction();
    await lockOrgItems(holder, [{ org_id: orgs[0] ?? '', item_id: items[0] ?? '' }], 'shared');
    const zombie = settleBatch(entitlementsConsumer, options(), old);
    await expect.poll(async () => await rowsOf(`select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`), { timeout: 5_000, interval: 10 }).toHaveLength(1);
    // Its session is thought dead; the successor waits for nothing but the end of that backend.
    await pipeline.database.raw(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`);
    await holder.rollback();
    expect(await settleBatch(entitlementsConsumer, options(), old)).toEqual({ kind: 'moved', position: 10 });
    expect(await zombie).toMatchObject({ kind: 'pause', failure: { kind: 'dependency' } });
    expect(await settleBatch(entitlementsConsumer, options(), old)).toEqual({ kind: 'lost' });
    expect(await countsOf(pipeline.database, 'entitlements')).toMatchObject({ accepted: 10, applied: 10 });
  });

  test('I3: a commit whose answer is lost is neither repeated nor forgotten: the position is read back', async () => {
    const { database, proxy: hop } = await openBehindProxy();
    const batch = await batchOf(many(10));
    const lost = hop.loseAnswerTo('COMMIT');
    const settled = await settleBatch(entitlementsConsumer, { ...options(), database }, batch);
    await lost;
    expect(settled).toMatchObject({ kind: 'pause', failure: { kind: 'dependency', code: 'UNAVAILABLE' } });
    await expect.poll(async () => await readPositions(database, place, new Map([[0, { start: 0, end: 100 }]])), { timeout: 5_000, interval: 10 }).toEqual(new Map([[0, 10]]));
    expect(await countsOf(pipeline.database, 'entitlements')).toMatchObject({ accepted: 10, applied: 10 });
    await database.destroy();
  });
});

describe('a consumer whose dependencies fail', () => {
  test('I3, I4: goes on after commits whose answers were lost, and applies everything once', async () => {
    const { database, proxy: hop } = await openBehindProxy();
    pipeline.run(entitlementsConsumer, { database });
    for (let round = 1; round <= 3; round += 1) {
      const lost = hop.loseAnswerTo('COMMIT');
      await pipeline.publish(...many(40, round));
      await lost;
      await pipeline.settled(entitlementsConsumer);
    }
    expect(await countsOf(pipeline.database, 'entitlements')).toMatchObject({ accepted: 120, applied: 120, duplicate: 0 });
    expect(await rowsOf('select from audit')).toHaveLength(120);
    await database.destroy();
  });

  test('I17, I18: waits for a database that is away, dead-letters nothing and goes on when it is back', async () => {
    const { database, proxy: hop } = await openBehindProxy();
    pipeline.run(entitlementsConsumer, { database });
    await pipeline.publish(...many(20));
    await pipeline.settled(entitlementsConsumer);
    hop.cut();
    await pipeline.publish(...many(20, 2), ...many(20, 3));
    await expect.poll(async () => await rowsOf(`select from pg_stat_activity where application_name = 'behind-proxy'`), { timeout: 5_000, interval: 20 }).toEqual([]);
    hop.mend();
    await pipeline.settled(entitlementsConsumer);
    expect(await countsOf(pipeline.database, 'entitlements')).toMatchObject({ accepted: 60, applied: 60, deadLettered: 0 });
    await database.destroy();
  });

  test('I18: is replaced when its Kafka consumer has used up its retries, and goes on', async () => {
    const [broker = ''] = inject('stack').kafkaBrokers;
    const [host = '', port] = broker.split(':');
    const hop = await startTcpProxy(host, Number(port));
    proxy = hop;
    const kafka = new Kafka({
      brokers: [broker],
      clientId: 'cuttable',
      logLevel: logLevel.NOTHING,
      retry: { initialRetryTime: 10, maxRetryTime: 20, retries: 1 },
      // Whatever the brokers advertise.
      socketFactory: ({ onConnect }) => connect({ host: '127.0.0.1', port: hop.port }, onConnect),
    });
    const lines: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => { lines.push(line); } });
    pipeline.run(entitlementsConsumer, { kafka, log });
    await pipeline.publish(...many(20));
    await pipeline.settled(entitlementsConsumer);
    hop.cut();
    await pipeline.publish(...many(20, 2));
    await expect.poll(() => lines.some((line) => line.includes('crashed and is replaced')), { timeout: 30_000, interval: 20 }).toBe(true);
    hop.mend();
    await pipeline.settled(entitlementsConsumer, 40_000);
    expect(await countsOf(pipeline.database, 'entitlements')).toMatchObject({ accepted: 40, applied: 40 });
  });

  test('I26: notices that its topic was replaced while it ran, although kafkajs goes on without a word', async () => {
    const consumer = pipeline.run(entitlementsConsumer);
    await pipeline.publish(...many(20));
    await pipeline.settled(entitlementsConsumer);
    const admin = pipeline.kafka.admin();
    await admin.connect();
    const topic = `${pipeline.isolated.topicPrefix}marketplace.entitlements`;
    await admin.deleteTopics({ topics: [topic] });
    await expect.poll(async () => await admin.listTopics(), { timeout: 10_000, interval: 50 }).not.toContain(topic);
    await admin.createTopics({ topics: [{ topic, numPartitions: 8, replicationFactor: 1 }] });
    await admin.disconnect();
    // It has reset its offset by now, and reads what is new as if nothing were wrong.
    await vi.waitFor(async () => { await pipeline.publish(...many(3, 2)); }, { timeout: 10_000, interval: 50 });
    await expect(consumer.done).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
    expect(await rowsOf('select from entitlement_lines where entitlement_version = 1')).toHaveLength(20);
  });
});

test('A6: a conflict is in the log of the process, with what claims the same version', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => { lines.push(line); } });
  pipeline.run(entitlementsConsumer, { log });
  await pipeline.publish(purchase({ entitlement_version: 2 }), revoke({ entitlement_version: 2 }));
  await pipeline.settled(entitlementsConsumer);
  expect(lines.filter((line) => line.includes('CONFLICT')).map((line) => JSON.parse(line) as unknown)).toMatchObject([
    { code: 'CONFLICT', subject: `${orgs[0]}/${items[0]}/p-1`, version: 2, won: true },
  ]);
});
