import { connect } from 'node:net';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';

import { openDatabase, tx, type Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { silentLogger } from '../../process/log.ts';
import { appendBytes, appendEvents } from '../../producers/outbox.ts';
import { outboxDrained, readUnsent } from '../../producers/outbox-rows.ts';
import { openShards } from '../../producers/relay-shards.ts';
import { runRelay, type RelayOptions } from '../../producers/relay.ts';
import { createCodec } from '../../schemas/codec.ts';
import type { ItemChanged } from '../../schemas/generated/events.ts';
import { deriveEventId, parseItemId, parseRuntimeId, parseSellerId } from '../../schemas/ids.ts';
import type { TopicName, TypedEvent } from '../../schemas/topics.ts';
import { collect, type Collected, type Collector } from '../support/collector.ts';
import { createMemoryRegistry } from '../support/memory-registry.ts';
import { startPipeline, type TestPipeline } from '../support/pipeline.ts';
import { runRelayProcess } from '../support/relay-process.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

const noon = Date.UTC(2026, 0, 1, 12);

let pipeline: TestPipeline;
let collector: Collector;
const running: { abort(): void; done: Promise<void> }[] = [];
const open: Database[] = [];

beforeAll(async () => {
  pipeline = await startPipeline();
  collector = await collect(pipeline.kafka, pipeline.isolated.topicPrefix, ['waybill.catalogue', 'waybill.dead-letters']);
});
beforeEach(async () => {
  // Sent rows go, so that each test counts its own; the log keeps everything.
  await pipeline.database.raw('delete from waybill_outbox');
  collector.records.length = 0;
});
afterEach(async () => { await stopAll(); });
afterAll(async () => {
  await collector.stop();
  await Promise.all(open.map(async (database) => { await database.destroy(); }));
  await pipeline.drop();
});

function start(overrides: Partial<RelayOptions> = {}): { abort(): void; done: Promise<void> } {
  const abort = new AbortController();
  const { database, kafka, codec, isolated } = pipeline;
  const done = runRelay({ database, kafka, codec, topicPrefix: isolated.topicPrefix, log: silentLogger, signal: abort.signal, ...overrides });
  done.catch(() => undefined); // looked at by whoever waits for it
  const relay = { abort: () => { abort.abort(); }, done };
  running.push(relay);
  return relay;
}

async function stopAll(): Promise<void> {
  for (const relay of running.splice(0)) {
    relay.abort();
    await relay.done;
  }
}

/** A pool of its own, as another process would have. */
function openAnother(name: string, url = pipeline.isolated.databaseUrl): Database {
  const database = openDatabase(url, { name });
  open.push(database);
  return database;
}

let versions = 0;
/** An event of the catalogue with the next version. */
function itemChanged(item: string, fields: Partial<ItemChanged> = {}): TypedEvent<'ItemChanged'> {
  const catalogue_version = (versions += 1);
  return {
    type: 'ItemChanged',
    event: {
      event_id: deriveEventId('ItemChanged', item, catalogue_version), occurred_at: noon, caused_by: null, run_id: null, item_id: parseItemId(item), kind: 'template',
      seller_id: parseSellerId('platform'), access: 'sold', runtimes: [parseRuntimeId('claude-code')], catalogue_version, ...fields,
    },
  };
}

const append = async (events: readonly TypedEvent[], options?: { traceparent: string }): Promise<void> => { await tx(pipeline.database, async (trx) => { await appendEvents(trx, events, options); }); };
const sentOnce = async (): Promise<void> => { await outboxDrained(pipeline.database, 30_000); };
const idsOf = (records: readonly Collected[]): string[] => records.map(({ headers }) => headers['event-id'] ?? '');
const onTopic = (topic: TopicName): Collected[] => collector.records.filter((record) => record.topic === topic);

/** Per key, the ids in the order in which they were first seen; repeats left out. */
function firstAppearances(records: readonly Collected[]): Map<string, string[]> {
  return new Map([...Map.groupBy(records, ({ key }) => key)].map(([key, group]) => [key, [...new Set(idsOf(group))]]));
}

/** Per key, the ids in the order of the outbox. */
async function decided(): Promise<Map<string, string[]>> {
  const { rows } = await pipeline.database.raw<{ rows: { key: string; event_id: string }[] }>('select key, event_id from waybill_outbox where body is not null and refused_code is null order by id');
  return new Map([...Map.groupBy(rows, ({ key }) => key)].map(([key, group]) => [key, group.map(({ event_id }) => event_id)]));
}

const everythingArrived = async (count: number): Promise<void> => {
  await collector.until((records) => new Set(idsOf(records)).size >= count);
  expect(firstAppearances(onTopic('waybill.catalogue'))).toEqual(await decided());
};

describe('publishing', () => {
  test('an event arrives encoded, under its key, with its headers, and its row says where it is (A4)', async () => {
    const event = itemChanged('seo-agent');
    await append([event], { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' });
    start();
    await collector.until((records) => records.length === 1);
    const [record] = collector.records;
    expect(record).toMatchObject({
      topic: 'waybill.catalogue', key: 'seo-agent',
      headers: { 'event-type': 'ItemChanged', 'event-id': event.event.event_id, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
    });
    expect(await pipeline.codec.decode('waybill.catalogue', Buffer.from('seo-agent'), record?.value ?? null)).toEqual(event);
    await sentOnce();
    const { rows } = await pipeline.database.raw<{ rows: unknown[] }>('select sent_partition, sent_offset from waybill_outbox');
    expect(rows).toEqual([{ sent_partition: record?.partition, sent_offset: record?.offset }]);
  });

  test('thousands over many keys arrive in order per key, each at the offset that its row says (I5)', async () => {
    await append(Array.from({ length: 6000 }, (_, n) => itemChanged(`item-${n % 37}`)));
    start();
    await sentOnce();
    await everythingArrived(6000);
    expect(collector.records).toHaveLength(6000);
    const { rows } = await pipeline.database.raw<{ rows: { event_id: string; place: string }[] }>(`select event_id, sent_partition || '/' || sent_offset as place from waybill_outbox`);
    const places = new Map(rows.map(({ event_id, place }) => [event_id, place]));
    for (const { partition, offset, headers } of collector.records) expect(places.get(headers['event-id'] ?? '')).toBe(`${partition}/${offset}`);
  });

  test('a batch larger than a topic takes at once goes out in several requests, the largest event among them (I23)', async () => {
    const paths = Array.from({ length: 100 }, (_, n) => `${String(n).padStart(4, '0')}${'x'.repeat(500)}`);
    await append(Array.from({ length: 30 }, () => itemChanged('big', { runtimes: paths.map((_, n) => parseRuntimeId(`r${String(n).padStart(3, '0')}${'x'.repeat(59)}`)) })));
    await tx(pipeline.database, async (trx) => {
      await appendBytes(trx, [0, 1, 2].map((n) => ({ topic: 'waybill.catalogue', key: 'raw', value: Buffer.alloc(256 * 1024, n), headers: {}, eventId: deriveEventId('raw', 'raw', n + 1), type: 'raw' })));
    });
    start();
    await sentOnce();
    await collector.until((records) => records.length === 33);
  });

  test('bytes are published as they are', async () => {
    const headers = { 'waybill-code': 'BAD_MAGIC', odd: Buffer.from([0, 1, 2]) };
    await tx(pipeline.database, async (trx) => {
      await appendBytes(trx, [{ topic: 'waybill.dead-letters', key: 'k', value: Buffer.from([9, 0, 255]), headers, eventId: deriveEventId('DeadLetter', 'k', 1), type: 'DeadLetter' }]);
    });
    start();
    await collector.until((records) => records.length === 1);
    expect(collector.records[0]).toMatchObject({ topic: 'waybill.dead-letters', key: 'k', value: Buffer.from([9, 0, 255]), headers: { 'waybill-code': 'BAD_MAGIC', odd: '\0\u0001\u0002' } });
  });

  test('rows whose transactions commit in another order than their ids are not skipped (I3)', async () => {
    start();
    const early = await pipeline.database.transaction();
    await appendEvents(early, [itemChanged('early')]);
    await append([itemChanged('late')]);
    await collector.until((records) => records.some(({ key }) => key === 'late'));
    await append([itemChanged('later')]);
    await collector.until((records) => records.some(({ key }) => key === 'later'));
    expect(collector.records.some(({ key }) => key === 'early')).toBe(false);
    await early.commit();
    await collector.until((records) => records.some(({ key }) => key === 'early'));
  });
});

describe('a row that can never be published', () => {
  test('is marked, dead-lettered with its JSON and its reason, and passed over; its key goes on (I17)', async () => {
    const good = [itemChanged('poisoned'), itemChanged('poisoned')];
    const [first, last] = good;
    const bodyOf = (fields: object): string => JSON.stringify({ ...itemChanged('poisoned').event, event_id: '00000000-0000-4000-8000-000000000001', ...fields });
    const bad = [
      ['FIELD_INVALID', 'ItemChanged', 'waybill.catalogue', 'poisoned', bodyOf({ access: 'stolen' })],
      ['FIELD_INVALID', 'ItemChanged', 'waybill.catalogue', 'poisoned', '"no object"'],
      ['LONG_OVERFLOW', 'ItemChanged', 'waybill.catalogue', 'poisoned', bodyOf({}).replace(/"catalogue_version":\d+/u, '"catalogue_version":9007199254740993')],
      ['FIELD_INVALID', 'ItemVanished', 'waybill.catalogue', 'poisoned', bodyOf({})],
      ['SCHEMA_MISMATCH', 'ItemChanged', 'waybill.assets', 'poisoned', bodyOf({})],
      ['FIELD_INVALID', 'ItemChanged', 'no.such.topic', 'poisoned', bodyOf({})],
      ['KEY_MISMATCH', 'ItemChanged', 'waybill.catalogue', 'poisoned', bodyOf({ item_id: 'another' })],
      ['FIELD_INVALID', 'ItemChanged', 'waybill.catalogue', 'poisoned', bodyOf({ event_id: '00000000-0000-4000-8000-000000000002' })],
      ['FIELD_INVALID', 'ItemChanged', 'waybill.catalogue', 'poisoned', JSON.stringify({ much: 'x'.repeat(1_000_000) })],
    ] as const;
    await append(first ? [first] : []);
    for (const [, type, topic, key, body] of bad) {
      await pipeline.database.raw('insert into waybill_outbox (event_id, topic, key, type, body) values (?, ?, ?, ?, ?::jsonb)', ['00000000-0000-4000-8000-000000000001', topic, key, type, body]);
    }
    await append(last ? [last] : []);
    start();
    await collector.until((records) => records.length === good.length + bad.length);
    await sentOnce();
    expect(idsOf(onTopic('waybill.catalogue'))).toEqual(good.map(({ event }) => event.event_id));
    const { rows } = await pipeline.database.raw<{ rows: { code: string; reason: string }[] }>('select refused_code as code, refused_reason as reason from waybill_outbox where refused_code is not null order by id');
    expect(rows.map(({ code }) => code)).toEqual(bad.map(([code]) => code));
    const letters = onTopic('waybill.dead-letters');
    expect(letters.map(({ headers }) => [headers['waybill-code'], headers['waybill-reason']])).toEqual(rows.map(({ code, reason }) => [code, reason]));
    expect(letters.map(({ value }) => JSON.parse(value.toString()) as unknown)).toEqual(bad.map(([, , , , body]) => JSON.parse(body) as unknown));
  });
});

describe('what it reads at once', () => {
  test('is bounded by bytes as they are read, however well the database compresses them, and all of it gets through (I22)', async () => {
    const largest = { much: 'x'.repeat(1024 * 1024 - 11) };
    await pipeline.database.raw(
      `insert into waybill_outbox (event_id, topic, key, type, body) select gen_random_uuid(), 'waybill.catalogue', 'key-' || n, 'ItemChanged', ?::json from generate_series(1, 60) n`,
      [JSON.stringify(largest)],
    );
    const { rows: [stored] } = await pipeline.database.raw<{ rows: { bytes: number }[] }>('select sum(pg_column_size(body))::bigint as bytes from waybill_outbox');
    expect(stored?.bytes).toBeLessThan(1024 * 1024);
    const read = await readUnsent(pipeline.database, Array.from({ length: 16 }, (_, shard) => shard), []);
    expect(read).toHaveLength(9); // eight mebibytes, and the row that goes beyond
    start();
    await sentOnce();
    await collector.until((records) => records.length === 60);
  });
});

describe('killed', () => {
  test.for(['read', 'acked', 'marked', 'refused'] as const)('after it has %s, and started again, it loses nothing and keeps the order; repeats carry the same id (I3, I5)', { timeout: 60_000 }, async (step) => {
    await append(Array.from({ length: 3000 }, (_, n) => itemChanged(`${step}-${n % 11}`)));
    await pipeline.database.raw(`insert into waybill_outbox (event_id, topic, key, type, body) select gen_random_uuid(), 'waybill.catalogue', 'x', 'ItemChanged', '{}' from generate_series(1, 3)`);
    await append(Array.from({ length: 1500 }, (_, n) => itemChanged(`${step}-${n % 11}`)));
    const { kafkaBrokers, registryUrl } = inject('stack');
    const settings = { databaseUrl: pipeline.isolated.databaseUrl, brokers: kafkaBrokers, registryUrl, topicPrefix: pipeline.isolated.topicPrefix };
    expect(await runRelayProcess({ ...settings, killAt: step })).toBe('SIGKILL');
    expect(await runRelayProcess({ ...settings, killAt: step === 'refused' ? null : step })).toBe(step === 'refused' ? null : 'SIGKILL');
    expect(await runRelayProcess({ ...settings, killAt: null })).toBe(null);
    await collector.until((records) => new Set(idsOf(records.filter(({ topic }) => topic === 'waybill.catalogue'))).size === 4500);
    await everythingArrived(4503);
    expect(new Set(idsOf(onTopic('waybill.dead-letters'))).size).toBe(3);
    const repeats = onTopic('waybill.catalogue').length - 4500;
    // What was acknowledged and not yet marked comes again; at the first read nothing was.
    if (step === 'acked') expect(repeats).toBeGreaterThan(0);
    if (step === 'read') expect(repeats).toBe(0);
  });
});

describe('several relays of one outbox', () => {
  const holders = async (): Promise<number[]> => {
    const { rows } = await pipeline.database.raw<{ rows: { shards: number }[] }>(
      `select count(*)::int as shards from pg_locks where locktype = 'advisory' and objsubid = 1 and objid::bigint & 31 < 16 and mode = 'ExclusiveLock'
         and database = (select oid from pg_database where datname = current_database()) group by pid order by 1`,
    );
    return rows.map(({ shards }) => shards);
  };

  test('share its shards evenly, and one that loses its locks stops at once while the other goes on in order (I5, I24)', { timeout: 60_000 }, async () => {
    const [one, two] = [openAnother('relay-one'), openAnother('relay-two')];
    start({ database: one });
    await expect.poll(holders, { timeout: 10_000 }).toEqual([16]);
    start({ database: two });
    await expect.poll(holders, { timeout: 10_000 }).toEqual([8, 8]);
    for (let round = 0; round < 6; round += 1) {
      await append(Array.from({ length: 700 }, (_, n) => itemChanged(`shared-${n % 40}`)));
      if (round % 2 === 1) {
        await pipeline.database.raw(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = ?`, [round === 1 ? 'relay-one' : 'relay-two']);
      }
    }
    await sentOnce();
    await everythingArrived(4200);
    await expect.poll(holders, { timeout: 10_000 }).toEqual([8, 8]);
    await stopAll();
    expect(await holders()).toEqual([]);
  });

  test('a relay whose lock connection dies holds nothing from that moment on', async () => {
    const database = openAnother('relay-locks');
    const shards = openShards(database);
    await shards.balance();
    expect(shards.held()).toHaveLength(16);
    await pipeline.database.raw(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'relay-locks'`);
    await expect.poll(() => shards.held(), { timeout: 2000, interval: 5 }).toEqual([]);
    await shards.balance();
    expect(shards.held()).toHaveLength(16);
    await shards.close();
  });

  test('a lock that is lost between two requests of a batch stops the second (I24)', async () => {
    const database = openAnother('relay-between');
    const heldAtRequest: number[][] = [];
    const losesItsLocks: Pick<Kafka, 'producer'> = {
      producer: (config) => {
        const producer = pipeline.kafka.producer(config);
        return {
          ...producer,
          sendBatch: async (batch) => {
            heldAtRequest.push(await holders());
            const metadata = await producer.sendBatch(batch);
            if (heldAtRequest.length > 1) return metadata;
            await pipeline.database.raw(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'relay-between'`);
            await expect.poll(holders, { timeout: 5000, interval: 20 }).toEqual([]);
            return metadata;
          },
        };
      },
    };
    await append(Array.from({ length: 2500 }, (_, n) => itemChanged(`between-${n % 7}`)));
    start({ database, kafka: losesItsLocks });
    await sentOnce();
    await everythingArrived(2500);
    expect(heldAtRequest.length).toBeGreaterThan(2);
    for (const held of heldAtRequest) expect(held).toEqual([16]);
  });

  test('of two schemas of one database do not stand in each other\'s way', async () => {
    const other = openDatabase(pipeline.isolated.databaseUrl, { schema: 'other_outbox', name: 'relay-other' });
    open.push(other);
    await other.raw('create schema other_outbox');
    await other.raw('create table waybill_outbox (like public.waybill_outbox including all)');
    await other.raw('create table waybill_outbox_ends (like public.waybill_outbox_ends including all)');
    start();
    start({ database: other });
    await expect.poll(holders, { timeout: 10_000 }).toEqual([16, 16]);
    await tx(other, async (trx) => { await appendEvents(trx, [itemChanged('elsewhere')]); });
    await collector.until((records) => records.some(({ key }) => key === 'elsewhere'));
  });
});

describe('a dependency that is unwell', () => {
  test('Kafka out of reach: nothing is lost or refused, and it goes on by itself (I17, I18)', { timeout: 60_000 }, async () => {
    const [host = '', port = ''] = (inject('stack').kafkaBrokers[0] ?? '').split(':');
    const proxy = await startTcpProxy(host, Number(port));
    // Every connection goes through the proxy, whatever address the broker advertises.
    const kafka = new Kafka({
      brokers: [`${host}:${port}`], logLevel: logLevel.NOTHING, connectionTimeout: 1000, requestTimeout: 2000, retry: { initialRetryTime: 50, maxRetryTime: 200, factor: 0, retries: 3 },
      socketFactory: ({ onConnect }) => connect(proxy.port, '127.0.0.1', onConnect),
    });
    try {
      start({ kafka });
      await append(Array.from({ length: 500 }, (_, n) => itemChanged(`k-${n % 9}`)));
      await sentOnce();
      proxy.cut();
      await append(Array.from({ length: 500 }, (_, n) => itemChanged(`k-${n % 9}`)));
      await expect(outboxDrained(pipeline.database, 1500)).rejects.toMatchObject({ kind: 'dependency' });
      proxy.mend();
      await sentOnce();
      await everythingArrived(1000);
      expect(onTopic('waybill.dead-letters')).toEqual([]);
      await stopAll();
    } finally {
      await proxy.close();
    }
  });

  test('an answer of Kafka that is lost: published again under the same ids, in order (I5)', { timeout: 60_000 }, async () => {
    const [host = '', port = ''] = (inject('stack').kafkaBrokers[0] ?? '').split(':');
    const proxy = await startTcpProxy(host, Number(port));
    const kafka = new Kafka({
      brokers: [`${host}:${port}`], logLevel: logLevel.NOTHING, connectionTimeout: 1000, requestTimeout: 2000, retry: { initialRetryTime: 50, maxRetryTime: 200, factor: 0, retries: 3 },
      socketFactory: ({ onConnect }) => connect(proxy.port, '127.0.0.1', onConnect),
    });
    try {
      start({ kafka });
      const lost = proxy.loseAnswerTo('unheard-of');
      await append([itemChanged('unheard-of'), itemChanged('unheard-of'), itemChanged('other')]);
      await lost;
      await append([itemChanged('unheard-of')]);
      await sentOnce();
      await everythingArrived(4);
      await stopAll();
    } finally {
      await proxy.close();
    }
  });

  test('a request that fails while later rows are read already: nothing of a key overtakes it (I5)', async () => {
    let requests = 0;
    const failsOnce: Pick<Kafka, 'producer'> = {
      producer: (config) => {
        const producer = pipeline.kafka.producer(config);
        return {
          ...producer,
          sendBatch: async (batch) => {
            requests += 1;
            if (requests === 2) throw new Error('lost on the way');
            return await producer.sendBatch(batch);
          },
        };
      },
    };
    await append(Array.from({ length: 6000 }, (_, n) => itemChanged(`overtake-${n % 3}`)));
    start({ kafka: failsOnce });
    await sentOnce();
    await everythingArrived(6000);
    expect(requests).toBeGreaterThan(2);
  });

  test('a registry that cannot be asked: nothing is refused, and it goes on when it answers (I17)', async () => {
    const registry = createMemoryRegistry();
    registry.outage = new Failure('dependency', 'UNAVAILABLE', 'registry down');
    start({ codec: createCodec({ registry }) });
    await append([itemChanged('waiting')]);
    await expect.poll(() => registry.requests.length, { timeout: 5000 }).toBeGreaterThan(14);
    const { rows } = await pipeline.database.raw<{ rows: unknown[] }>('select 1 from waybill_outbox where sent_at is null and refused_code is null');
    expect(rows).toHaveLength(1);
    registry.outage = undefined;
    await sentOnce();
  });

  test('PostgreSQL ends every connection: it takes its locks anew and goes on (I18)', { timeout: 60_000 }, async () => {
    start({ database: openAnother('relay-cut') });
    for (let round = 0; round < 5; round += 1) {
      await append(Array.from({ length: 200 }, (_, n) => itemChanged(`pg-${n % 7}`)));
      await pipeline.database.raw(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'relay-cut'`);
    }
    await sentOnce();
    await everythingArrived(1000);
  });

  test('a database without the outbox is a fault, told at once', async () => {
    const empty = openDatabase(pipeline.isolated.databaseUrl, { schema: 'nowhere', name: 'relay-nowhere' });
    open.push(empty);
    await expect(start({ database: empty }).done).rejects.toThrow('waybill_outbox');
    running.length = 0;
  });
});

test('asked to stop it marks what it has sent and lets go of its locks (I22)', async () => {
  await append(Array.from({ length: 4000 }, (_, n) => itemChanged(`stop-${n % 5}`)));
  const relay = start();
  await collector.until((records) => records.length > 0);
  relay.abort();
  await relay.done;
  const { rows } = await pipeline.database.raw<{ rows: unknown[] }>(`select 1 from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`);
  expect(rows).toEqual([]);
  // Another one begins where it ended.
  start();
  await sentOnce();
  await everythingArrived(4000);
  expect(collector.records).toHaveLength(4000);
});
