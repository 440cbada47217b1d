import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';

import { entitlementsConsumer } from '../../consumers/entitlements.ts';
import { lockPosition } from '../../consumers/positions.ts';
import { adoptOffsets } from '../../consumers/positions.ts';
import { projectionDigest } from '../../consumers/projection-digest.ts';
import { batchChannel, type BatchSettled, type ConsumerDefinition } from '../../consumers/settle.ts';
import { workspacesConsumer } from '../../consumers/workspaces.ts';
import type { LineEvent } from '../../entitlements/line.ts';
import { announceDue } from '../../entitlements/expiry.ts';
import { tx } from '../../process/database.ts';
import { lockOrgItems } from '../../process/locks.ts';
import { parseItemId, parsePurchaseId } from '../../schemas/ids.ts';
import { keyOf } from '../../schemas/topics.ts';
import { forkConsumer, killed } from '../support/consumer-process.ts';
import { items, orgs, provisioned, purchase, revoke, workspaces } from '../support/histories.ts';
import { countsOf, startPipeline, type NamedConsumer, type TestPipeline } from '../support/pipeline.ts';

type Entitlements = ConsumerDefinition<'marketplace.entitlements'>;

/** Each test has a pipeline of its own: positions and logs must not remember the test before. */
let pipeline: TestPipeline;
beforeEach(async () => { pipeline = await startPipeline(); });
afterEach(async () => { await pipeline.drop(); });

/** Everything that was settled in this process since the file began. */
const settledBatches: BatchSettled[] = [];
const remember = (message: unknown): void => { settledBatches.push(message as BatchSettled); }; // its only publisher sends these
beforeAll(() => { batchChannel.subscribe(remember); });
afterAll(() => { batchChannel.unsubscribe(remember); });

const org = orgs[0] ?? expect.fail();
const rowsOf = async <R>(sql: string): Promise<R[]> => (await pipeline.database.raw<{ rows: R[] }>(sql)).rows;
const many = (count: number, fields: Parameters<typeof purchase>[0] = {}): LineEvent[] =>
  Array.from({ length: count }, (_, n) => purchase({ item_id: parseItemId(`item-${n % 50}`), purchase_id: parsePurchaseId(`p-${n}`), ...fields }));
const waitsForLock = async (): Promise<void> => {
  await expect.poll(async () => await rowsOf(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`), { timeout: 20_000, interval: 10 }).not.toEqual([]);
};
/** I4: every record of the log is in exactly one bucket. */
const expectAllAccountedFor = async (definition: NamedConsumer): Promise<Record<string, number>> => {
  const { accepted, ...buckets } = await countsOf(pipeline.database, definition.name);
  expect(accepted).toBe(await pipeline.logLength(definition.topic));
  expect(Object.values(buckets).reduce((sum, count) => sum + count)).toBe(accepted);
  return buckets;
};

describe('from Kafka to the tables', () => {
  test('A2, A6, I4: purchases and revocations in both orders, duplicates and conflicts come out right and are all accounted for', async () => {
    const [bought, refunded] = [purchase(), revoke()];
    const late = { purchase_id: parsePurchaseId('p-2') };
    await pipeline.publish(bought, refunded, bought, revoke(late), purchase(late));
    await pipeline.publish(purchase({ purchase_id: parsePurchaseId('p-3') }), revoke({ purchase_id: parsePurchaseId('p-3'), entitlement_version: 1 }));
    pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    expect(await rowsOf('select purchase_id, revoked from entitlement_lines order by purchase_id')).toEqual([
      { purchase_id: 'p-1', revoked: true }, { purchase_id: 'p-2', revoked: true }, { purchase_id: 'p-3', revoked: true },
    ]);
    expect(await expectAllAccountedFor(entitlementsConsumer)).toEqual({ applied: 4, superseded: 2, duplicate: 0, conflict: 1, deadLettered: 0 });
    await pipeline.publish(refunded);
    await pipeline.settled(entitlementsConsumer);
    expect(await expectAllAccountedFor(entitlementsConsumer)).toMatchObject({ duplicate: 1 });
  });

  test('C12: a workspace and its purchase, through both consumers, leave the workspace due', async () => {
    pipeline.run(entitlementsConsumer);
    pipeline.run(workspacesConsumer);
    await pipeline.publish(purchase(), provisioned({ template: items[0] ?? null }));
    await Promise.all([pipeline.settled(entitlementsConsumer), pipeline.settled(workspacesConsumer)]);
    expect(await rowsOf('select workspace_id from pending')).toEqual([{ workspace_id: workspaces[0] }]);
    await expectAllAccountedFor(workspacesConsumer);
  });

  test('a batch is at most 1,000 events, and each says what became of it', async () => {
    await pipeline.publish(...many(2_500, { item_id: parseItemId('item-1') }));
    pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    const mine = settledBatches.filter(({ place }) => place.topic.startsWith(pipeline.isolated.topicPrefix));
    expect(mine.reduce((sum, { counts }) => sum + counts.applied, 0)).toBe(2_500);
    expect(mine.length).toBeGreaterThanOrEqual(3);
    for (const { from, position } of mine) expect(position - from).toBeLessThanOrEqual(1_000);
  });

  test('offsets also stand in Kafka, for lag tools', async () => {
    await pipeline.publish(...many(20));
    pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    const admin = pipeline.kafka.admin();
    await admin.connect();
    const topic = `${pipeline.isolated.topicPrefix}marketplace.entitlements`;
    await expect.poll(async () => {
      const [found] = await admin.fetchOffsets({ groupId: `${pipeline.isolated.topicPrefix}waybill.entitlements`, topics: [topic] });
      return found?.partitions.reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0);
    }, { timeout: 10_000, interval: 50 }).toBe(20);
    await admin.disconnect();
  });
});

describe('starting again', () => {
  test('A3: goes on where the database says, whatever Kafka says', async () => {
    await pipeline.publish(...many(30));
    const first = pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    await first.stop();
    // A database that was set back: the group's offsets in Kafka are ahead of it.
    await pipeline.database('consumer_offsets').where('position', '>', 0).update({ position: 0, applied: 0, duplicate: 0 });
    await pipeline.publish(...many(10, { entitlement_version: 2 }));
    pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    expect(await expectAllAccountedFor(entitlementsConsumer)).toMatchObject({ duplicate: 30, applied: 10 });
  });

  test('I19: the projection and the positions taken away, everything is rebuilt from the log to the same digest', async () => {
    await pipeline.publish(...many(200), ...many(50, { entitlement_version: 2, valid_until: Date.now() + 86_400_000 }));
    await pipeline.publish(...many(20).map(({ event }) => revoke({ item_id: event.item_id, purchase_id: event.purchase_id, entitlement_version: 3 })));
    await pipeline.publish(provisioned({ template: items[0] ?? null }), provisioned({ record_version: 2, plugins: [items[1] ?? expect.fail()] }));
    await pipeline.publish(provisioned({ workspace_id: workspaces[1] ?? expect.fail(), status: 'removed', record_version: 4 }));
    const first = [pipeline.run(entitlementsConsumer), pipeline.run(workspacesConsumer)];
    await Promise.all([pipeline.settled(entitlementsConsumer), pipeline.settled(workspacesConsumer)]);
    await Promise.all(first.map(async (consumer) => { await consumer.stop(); }));
    await announceDue(pipeline.database);
    const digest = await projectionDigest(pipeline.database);
    const revisions = await rowsOf<{ entitlement_revision: number }>('select entitlement_revision from entitlement_revisions order by org_id, item_id');

    await pipeline.database.raw('truncate entitlement_lines, entitlements, workspace_records, consumer_offsets');
    await pipeline.database.raw(`delete from workspace_items where via = 'named'`);
    expect(await projectionDigest(pipeline.database)).not.toBe(digest);
    pipeline.run(entitlementsConsumer);
    pipeline.run(workspacesConsumer);
    await Promise.all([pipeline.settled(entitlementsConsumer), pipeline.settled(workspacesConsumer)]);

    expect(await projectionDigest(pipeline.database)).toBe(digest);
    const after = await rowsOf<{ entitlement_revision: number }>('select entitlement_revision from entitlement_revisions order by org_id, item_id');
    for (const [index, { entitlement_revision }] of after.entries()) expect(entitlement_revision).toBeGreaterThan(revisions[index]?.entitlement_revision ?? Infinity);
    await expectAllAccountedFor(entitlementsConsumer);
  });

  test('I26: set back while it runs and nothing comes any more, it reads again by itself', async () => {
    await pipeline.publish(...many(20));
    pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    await pipeline.database.raw('truncate entitlement_lines, entitlements');
    await pipeline.database.raw('update consumer_offsets set position = 0');
    await pipeline.settled(entitlementsConsumer);
    expect(await rowsOf('select from entitlement_lines')).toHaveLength(20);
  });

  test('a position held under another cluster, or elsewhere, is nobody\'s to move (I26)', async () => {
    const place = { consumer: 'entitlements', topic: 'a-topic', partition: 0, clusterId: 'mine' };
    await pipeline.database('consumer_offsets').insert({ consumer: place.consumer, topic: place.topic, partition: 0, position: 7, cluster_id: 'mine' });
    const lock = async (fields: Partial<typeof place>, held = 7): Promise<string> => await tx(pipeline.database, async (trx) => { await lockPosition(trx, { ...place, ...fields }, held); })
      .then(() => 'held', (error: Error) => error.name);
    expect([await lock({}), await lock({ clusterId: 'another' }), await lock({}, 6), await lock({ consumer: 'workspaces' }), await lock({ topic: 'b' }), await lock({ partition: 1 })])
      .toEqual(['held', ...Array.from({ length: 5 }, () => 'PositionLost')]);
  });

  test('the positions taken away while it runs, it notices and begins again', async () => {
    pipeline.run(entitlementsConsumer);
    await pipeline.publish(...many(30));
    await pipeline.settled(entitlementsConsumer);
    await pipeline.database.raw('truncate entitlement_lines, entitlements, consumer_offsets');
    await pipeline.publish(...many(50, { entitlement_version: 2 }));
    await pipeline.settled(entitlementsConsumer);
    const { applied } = await expectAllAccountedFor(entitlementsConsumer);
    expect(applied).toBeGreaterThan(50);
    expect(await rowsOf('select from entitlement_lines')).toHaveLength(50);
  });

  test('adding partitions to the topic is noticed within seconds', async () => {
    pipeline.run(entitlementsConsumer);
    await pipeline.publish(...many(10));
    await pipeline.settled(entitlementsConsumer);
    const admin = pipeline.kafka.admin();
    await admin.connect();
    const topic = `${pipeline.isolated.topicPrefix}marketplace.entitlements`;
    await admin.createPartitions({ topicPartitions: [{ topic, count: 9 }] });
    await admin.disconnect();
    // A producer that has never heard of the old partitions; one that has drops what is for the new one, without a word.
    const producer = pipeline.kafka.producer();
    await producer.connect();
    const event = purchase({ entitlement_version: 7 });
    await producer.send({ topic, messages: [{ key: keyOf(event), value: await pipeline.codec.encode(event), partition: 8 }] });
    await producer.disconnect();
    await expect.poll(async () => await rowsOf('select from entitlement_lines where entitlement_version = 7'), { timeout: 40_000, interval: 100 }).toHaveLength(1);
  });
});

describe('a consumer that dies, freezes or is not alone', () => {
  const forkOne = (sessionTimeoutMs = 6_000): ReturnType<typeof forkConsumer> => {
    const { kafkaBrokers, registryUrl } = inject('stack');
    const { databaseUrl, topicPrefix } = pipeline.isolated;
    return forkConsumer({ databaseUrl, topicPrefix, brokers: kafkaBrokers, registryUrl, sessionTimeoutMs });
  };

  test('A3, I4: kill -9 in the middle of a batch applies it once, by whoever comes next', async () => {
    const events = many(600);
    await pipeline.publish(...events);
    // It gets as far as the pair that is held here, in the middle of its transaction.
    const holder = await pipeline.database.transaction();
    await lockOrgItems(holder, [{ org_id: org, item_id: 'item-7' }], 'shared');
    const child = forkOne();
    try {
      await waitsForLock();
    } finally {
      await killed(child);
      await holder.rollback();
    }
    pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer, 40_000);
    expect(await expectAllAccountedFor(entitlementsConsumer)).toMatchObject({ applied: 600, duplicate: 0 });
    const audited = await rowsOf<{ caused_by: string }>('select caused_by from audit');
    expect(audited.map(({ caused_by }) => caused_by).toSorted()).toEqual(events.map(({ event }) => event.event_id).toSorted());
  });

  test('A3: one frozen past its session is replaced, and applies nothing when it thaws', async () => {
    await pipeline.publish(...many(100));
    const child = forkOne();
    try {
      await pipeline.settled(entitlementsConsumer);
      child.kill('SIGSTOP');
      await pipeline.publish(...many(100, { entitlement_version: 2 }));
      pipeline.run(entitlementsConsumer);
      await pipeline.settled(entitlementsConsumer, 40_000);
      child.kill('SIGCONT');
      await pipeline.publish(...many(100, { entitlement_version: 3 }));
      await pipeline.settled(entitlementsConsumer, 40_000);
    } finally {
      child.kill('SIGCONT');
      await killed(child);
    }
    expect(await expectAllAccountedFor(entitlementsConsumer)).toMatchObject({ applied: 300, duplicate: 0 });
  });

  test('I4: two in one group share the work through rebalances, and every event is applied once', async () => {
    const counted = (): { definition: Entitlements; applied: () => number } => {
      let applied = 0;
      return {
        applied: () => applied,
        definition: {
          ...entitlementsConsumer,
          async apply(trx, events) {
            const result = await entitlementsConsumer.apply(trx, events);
            applied += result.counts.applied;
            return result;
          },
        },
      };
    };
    const [one, two] = [counted(), counted()];
    const first = pipeline.run(one.definition);
    await pipeline.publish(...many(300));
    await pipeline.settled(entitlementsConsumer);
    const second = pipeline.run(two.definition);
    let version = 1;
    while (two.applied() === 0 && version < 200) {
      version += 1;
      await pipeline.publish(...many(50, { entitlement_version: version }));
      await pipeline.settled(entitlementsConsumer);
    }
    await first.stop();
    await pipeline.publish(...many(300, { entitlement_version: 900 }));
    await pipeline.settled(entitlementsConsumer);
    await second.stop();
    expect(one.applied()).toBeGreaterThanOrEqual(300);
    expect(two.applied()).toBeGreaterThanOrEqual(300);
    expect(await expectAllAccountedFor(entitlementsConsumer)).toMatchObject({ applied: one.applied() + two.applied(), duplicate: 0 });
  });

  test('a transaction longer than the session does not get it thrown out of the group', async () => {
    pipeline.run(entitlementsConsumer, { sessionTimeoutMs: 6_000 });
    await pipeline.publish(...many(8));
    await pipeline.settled(entitlementsConsumer);
    const holder = await pipeline.database.transaction();
    await lockOrgItems(holder, [{ org_id: org, item_id: 'item-1' }], 'shared');
    await pipeline.publish(...many(8, { entitlement_version: 2 }));
    await waitsForLock();
    const admin = pipeline.kafka.admin();
    await admin.connect();
    const member = async (): Promise<unknown> => {
      const { groups: [group] } = await admin.describeGroups([`${pipeline.isolated.topicPrefix}waybill.entitlements`]);
      return group?.members.map(({ memberId }) => memberId);
    };
    const before = await member();
    const until = performance.now() + 8_000;
    await expect.poll(() => performance.now() > until, { timeout: 10_000, interval: 200 }).toBe(true);
    expect(await member()).toEqual(before);
    await holder.rollback();
    await admin.disconnect();
    await pipeline.settled(entitlementsConsumer);
    expect(await expectAllAccountedFor(entitlementsConsumer)).toMatchObject({ applied: 16 });
  });

  test('told to stop, it finishes the batch in hand and leaves the group', async () => {
    const holder = await pipeline.database.transaction();
    await lockOrgItems(holder, [{ org_id: org, item_id: 'item-1' }], 'shared');
    await pipeline.publish(...many(500, { item_id: parseItemId('item-1') }));
    const consumer = pipeline.run(entitlementsConsumer);
    await waitsForLock();
    const stopped = consumer.stop();
    await holder.rollback();
    await stopped;
    const { applied } = await countsOf(pipeline.database, 'entitlements');
    expect(applied).toBeGreaterThan(0);
    expect(await rowsOf('select from entitlement_lines')).toHaveLength(applied ?? 0);
    const admin = pipeline.kafka.admin();
    await admin.connect();
    const { groups: [group] } = await admin.describeGroups([`${pipeline.isolated.topicPrefix}waybill.entitlements`]);
    expect(group?.members).toEqual([]);
    await admin.disconnect();
  });
});

describe('what stops the process', () => {
  test('a bug of ours: nothing of the batch is applied, nothing is dead-lettered, and the consumer rejects', async () => {
    await pipeline.publish(...many(3));
    const consumer = pipeline.run({
      ...entitlementsConsumer,
      async apply(trx, events) {
        await entitlementsConsumer.apply(trx, events);
        throw new TypeError('x is not a function');
      },
    });
    await expect(consumer.done).rejects.toMatchObject({ kind: 'fault', code: 'FAULT', message: 'x is not a function' });
    expect(await rowsOf('select from entitlement_lines union all select from dead_letters')).toEqual([]);
    expect(await countsOf(pipeline.database, 'entitlements')).toMatchObject({ accepted: 0 });
  });

  test('I26: a position of another cluster is refused with the command that helps, and that command helps', async () => {
    await pipeline.publish(purchase());
    const first = pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    await first.stop();
    await pipeline.database('consumer_offsets').update({ cluster_id: 'of-another-cluster' });
    await expect(pipeline.run(entitlementsConsumer).done).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE', message: expect.stringMatching(/of-another-cluster.*waybill offsets adopt entitlements/u) as string,
    });
    await adoptOffsets(pipeline.database, 'entitlements');
    pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    expect(await expectAllAccountedFor(entitlementsConsumer)).toMatchObject({ duplicate: 1 });
  });

  test('I26: a position beyond the end of the log is refused', async () => {
    await pipeline.publish(purchase());
    const first = pipeline.run(entitlementsConsumer);
    await pipeline.settled(entitlementsConsumer);
    await first.stop();
    await pipeline.database('consumer_offsets').where({ partition: 0 }).update({ position: 1_000 });
    await expect(pipeline.run(entitlementsConsumer).done).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE', message: expect.stringMatching(/1000 .*not in the log: the log goes from 0 to/u) as string,
    });
  });

  test('a log that begins after the position is refused, not skipped', async () => {
    await pipeline.publish(...many(20, { item_id: parseItemId('item-1') }));
    const topic = `${pipeline.isolated.topicPrefix}marketplace.entitlements`;
    const admin = pipeline.kafka.admin();
    await admin.connect();
    const [partition] = [...await pipeline.logEnds('marketplace.entitlements')].find(([, end]) => end === 20) ?? expect.fail();
    await pipeline.database('consumer_offsets').insert({
      consumer: 'entitlements', topic, partition, position: 0, cluster_id: (await admin.describeCluster()).clusterId,
    });
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: '10' }] });
    await admin.disconnect();
    await expect(pipeline.run(entitlementsConsumer).done).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
  });
});
