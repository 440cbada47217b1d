import pino from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { tx } from '../../process/database.ts';
import type { Logger } from '../../process/log.ts';
import { claim } from '../../process/pending.ts';
import { outboxDrained } from '../../producers/outbox-rows.ts';
import type { Codec } from '../../schemas/codec.ts';
import { versionOf, type TopicName } from '../../schemas/topics.ts';
import { collect, type Collector } from '../support/collector.ts';
import { CollectedState } from '../support/collected-state.ts';
import { backUp, type DatabaseBackup } from '../support/database-backup.ts';
import { DeliveryWorld } from '../support/delivery-world.ts';
import { openCase, publishReleases } from '../support/fault-scenarios.ts';
import { openTopics, startWorldRelay, worldKafka } from '../support/world-relay.ts';

let world: DeliveryWorld;
let codec: Codec;
let collector: Collector;
let collected: CollectedState;
let backup: DatabaseBackup;
let relay: { stop(): Promise<void> } | undefined;

beforeAll(async () => {
  world = await DeliveryWorld.open();
  codec = await openTopics(world);
  collector = await collect(worldKafka, world.isolated.topicPrefix, ['waybill.assets', 'waybill.entitlements', 'waybill.catalogue']);
  collected = new CollectedState(world, codec, collector);
  await publishReleases(world);
});
afterEach(async () => { await relay?.stop(); });
afterAll(async () => {
  await collector.stop();
  await world.close();
});

function startRelay(log?: Logger): void {
  const started = startWorldRelay(world, codec, log);
  relay = {
    async stop() {
      relay = undefined;
      await started.stop();
    },
  };
}

/** Everything that was said so far is on the topics; then nobody runs. */
async function atRest(): Promise<void> {
  await outboxDrained(world.database);
  await collected.caughtUp();
  await relay?.stop();
}

const isOpen = async (): Promise<boolean> => (await world.database.raw<{ rows: { open: boolean }[] }>('select minting_is_open() as open')).rows[0]?.open === true;
const comparedAgain = async (): Promise<void> => { await expect.poll(isOpen, { timeout: 20_000, interval: 20 }).toBe(true); };

const said = async (topic: TopicName, key?: string) => await collected.said(topic, key);
const stateOf = async (...workspaces: string[]): Promise<unknown> => await collected.state(workspaces);
const expectNoVersionReused = async (): Promise<void> => { await collected.expectNoVersionReused(); };

describe('I26: a database restored to an earlier backup, while Kafka and the volumes went on', () => {
  test('mints nothing until it is compared with the topics, reuses no version, and arrives at the same state', async () => {
    startRelay();
    const one = await openCase(world);
    await world.record(one.workspace, { template: 'seo' });
    await world.settle();
    await world.record(one.workspace, { status: 'online' });
    await world.settle();
    await atRest();
    backup = await backUp(world.isolated.databaseUrl);

    startRelay();
    // A set that changed, a pair that changed, a pair and a workspace that the backup does not have, a restart that was asked for.
    await world.record(one.workspace, { plugins: ['voice'] });
    await world.settle();
    await world.record(one.workspace, { boot: true });
    await world.settle();
    await world.record(one.workspace, { status: 'online' });
    await world.line('seo', 'refund', 'p-1');
    await world.line('seo', undefined, 'p-2');
    const two = await openCase(world);
    await world.record(two.workspace, { template: 'seo-next', plugins: ['voice'] });
    await world.settle();
    await world.record(two.workspace, { status: 'online' });
    await world.settle();
    await atRest();
    const before = await stateOf(one.workspace, two.workspace);
    const newest = Math.max(...(await said('waybill.assets', one.workspace)).map(versionOf));
    await backup.restore();

    expect(await isOpen()).toBe(false);
    await expect(world.decide('voice', '1.0.0', 'yanked')).rejects.toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
    await tx(world.database, async (trx) => { await trx.raw(`insert into pending (workspace_id, org_id) values (?, ?)`, [one.workspace, one.org]); });
    expect(await claim(world.database, 10, 1_000)).toEqual([]);
    startRelay();
    await comparedAgain();
    await world.foldAgain();
    await world.settle();
    await atRest();
    expect(await stateOf(one.workspace, two.workspace)).toEqual(before);

    startRelay();
    await world.record(one.workspace, { plugins: [] });
    await world.settle();
    await atRest();
    expect((await said('waybill.assets', one.workspace)).at(-1)).toMatchObject({ type: 'RestartRequested' });
    expect(Math.max(...(await said('waybill.assets', one.workspace)).map(versionOf))).toBeGreaterThan(newest);
    await expectNoVersionReused();
  });

  test('what the catalogue has forgotten is named, its versions are not used again, and what stands is published again (B3)', async () => {
    startRelay();
    await atRest();
    backup = await backUp(world.isolated.databaseUrl);
    startRelay();
    await world.publish('voice', '2.0.0', { 'rules/voice.md': 'Be briefer.\n' }, { kind: 'plugin' });
    await world.publish('lost', '1.0.0', { 'system-prompt.md': 'You were forgotten.\n', 'config.yaml': 'temperature: 0.1\n' });
    await atRest();
    const known = new Map(await Promise.all(['voice', 'lost'].map(async (item) => [item, Math.max(...(await said('waybill.catalogue', item)).map(versionOf))] as const)));
    await backup.restore();

    const lines: string[] = [];
    startRelay(pino({ level: 'warn' }, { write: (line: string) => { lines.push(line); } }));
    await comparedAgain();
    await atRest();
    const error = lines.map((line) => JSON.parse(line) as { level: number; lost?: string[] }).find(({ level }) => level === 50);
    expect(error?.lost?.toSorted()).toEqual(['lost stable: 1.0.0', 'lost: sold', 'lost@1.0.0: approved', 'voice stable: 2.0.0', 'voice@2.0.0: approved']);
    const again = (await said('waybill.catalogue', 'voice')).filter((event) => versionOf(event) > (known.get('voice') ?? 0));
    expect(again.map(({ type, event }) => [type, 'version' in event ? event.version : null])).toEqual([['ItemChanged', null], ['ReleaseChanged', '1.0.0'], ['ChannelMoved', '1.0.0']]);

    startRelay();
    await world.publish('lost', '1.0.1', { 'system-prompt.md': 'You are back.\n', 'config.yaml': 'temperature: 0.1\n' });
    await atRest();
    const versions = (await said('waybill.catalogue', 'lost')).map(versionOf);
    expect(versions).toEqual(versions.map((_, n) => n + 1));
    expect(versions.length).toBeGreaterThan(known.get('lost') ?? 0);
    await expectNoVersionReused();
  });

  test('a server that only started anew is compared and changes nothing; what was published before a crash and not marked is no news (I5)', async () => {
    const workspaces = [(await openCase(world)).workspace];
    await world.record(workspaces[0] ?? '', { template: 'seo' });
    startRelay();
    await world.settle();
    await atRest();
    const before = await stateOf(...workspaces);
    const attempts = async (): Promise<unknown> => (await world.database.raw<{ rows: unknown[] }>('select last_value from attempt_numbers')).rows;
    const numbers = await attempts();
    // As if the relay had been killed between the acknowledgement and its mark.
    const place = collector.records.findLast(({ topic }) => topic === 'waybill.assets') ?? expect.fail();
    await world.database.raw(
      `update waybill_outbox set sent_at = null, sent_partition = null, sent_offset = null where topic = 'waybill.assets' and sent_partition = ? and sent_offset = ?`, [place.partition, place.offset],
    );
    await world.database.raw(`delete from waybill_outbox_ends where topic = 'waybill.assets' and partition = ?`, [place.partition]);
    if (place.offset > 0) await world.database.raw(`insert into waybill_outbox_ends values ('waybill.assets', ?, ?)`, [place.partition, place.offset]);
    await world.database.raw(`update minting set server_started_at = server_started_at - interval '1 second'`);
    const lines: string[] = [];
    startRelay(pino({ level: 'warn' }, { write: (line: string) => { lines.push(line); } }));
    await comparedAgain();
    await atRest();
    expect(lines).toEqual([]);
    expect(await stateOf(...workspaces)).toEqual(before);
    expect(await attempts()).toEqual(numbers);
    await expectNoVersionReused();
  });
});
