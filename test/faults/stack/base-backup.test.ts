import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chownSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { RecordEvent } from '../../../delivery/workspace-record.ts';
import type { Codec } from '../../../schemas/codec.ts';
import { parseItemId, parseOrgId, parsePurchaseId, parseWorkspaceId } from '../../../schemas/ids.ts';
import { keyOf, topicOf, versionOf, type TypedEvent } from '../../../schemas/topics.ts';
import type { NativeContext } from '../../../stack/native-context.ts';
import type { RunningService } from '../../../stack/service.ts';
import { placePostgres } from '../../../stack/services/postgres-place.ts';
import { postgresUrl, startPostgres } from '../../../stack/services/postgres.ts';
import { collect, type Collector } from '../../support/collector.ts';
import { CollectedState } from '../../support/collected-state.ts';
import { DeliveryWorld } from '../../support/delivery-world.ts';
import { durablePostgres } from '../../support/durable-postgres.ts';
import { recordFigures } from '../../support/fault-figures.ts';
import { placed, publishReleases } from '../../support/fault-scenarios.ts';
import { provisioned, purchase, revoke } from '../../support/histories.ts';
import { startRole, type RoleProcess } from '../../support/role-process.ts';
import { openTopics, worldKafka } from '../../support/world-relay.ts';

let folder: string;
let context: NativeContext;
let server: RunningService;
let world: DeliveryWorld;
let codec: Codec;
let collector: Collector;
let collected: CollectedState;
const roles: RoleProcess[] = [];
const producer = worldKafka.producer({ idempotent: true, allowAutoTopicCreation: false });

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'waybill-backup-')));
  context = await durablePostgres(folder);
  server = await startPostgres(context);
  world = await DeliveryWorld.open(urlOf('postgres'));
  codec = await openTopics(world);
  await producer.connect();
  await publishReleases(world);
  collector = await collect(worldKafka, world.isolated.topicPrefix, ['waybill.assets', 'waybill.entitlements', 'waybill.catalogue']);
  collected = new CollectedState(world, codec, collector);
});
afterAll(async () => {
  await Promise.all(roles.map(async (role) => { await role.kill(); }));
  await collector.stop();
  await producer.disconnect();
  await world.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

const urlOf = (database: string): string => postgresUrl(context.ports.database, context.credentials.databasePassword, database);

async function publish(...events: TypedEvent[]): Promise<void> {
  for (const event of events) {
    await producer.send({ topic: world.isolated.topicPrefix + topicOf(event.type), acks: -1, messages: [{ key: keyOf(event), value: await codec.encode(event) }] });
  }
}

/** A workspace of an org of its own, told of by events alone. */
class Tenant {
  readonly workspace = randomUUID();
  readonly #org = parseOrgId(randomUUID());
  #record: Partial<RecordEvent['event']> = { epoch: 1, generation: 1, record_version: 0 };

  constructor() {
    world.adopt(this.workspace);
  }

  bought(item: string, version = 1): TypedEvent {
    return purchase({ org_id: this.#org, item_id: parseItemId(item), purchase_id: parsePurchaseId('p-1'), entitlement_version: version });
  }

  refunded(item: string, version = 2): TypedEvent {
    return revoke({ org_id: this.#org, item_id: parseItemId(item), purchase_id: parsePurchaseId('p-1'), entitlement_version: version, ended_at: Date.now() - 1_000 });
  }

  record(change: Partial<RecordEvent['event']>): TypedEvent {
    this.#record = { ...this.#record, ...change, record_version: (this.#record.record_version ?? 0) + 1 };
    return provisioned({ ...this.#record, workspace_id: parseWorkspaceId(this.workspace), org_id: this.#org });
  }

  wants(template: string, plugins: readonly string[] = []): TypedEvent {
    const generation = (this.#record.record_version ?? 0) === 0 ? 1 : (this.#record.generation ?? 0) + 1;
    return this.record({ template: parseItemId(template), plugins: plugins.map((item) => parseItemId(item)), generation });
  }

  boots(): TypedEvent {
    return this.record({ status: 'provisioning', epoch: (this.#record.epoch ?? 0) + 1 });
  }
}

/** Resolves when every input is folded, nothing is due and everything is said. */
async function atRest(): Promise<void> {
  const admin = worldKafka.admin();
  await admin.connect();
  try {
    await expect.poll(async () => {
      const rowsOf = async <R>(sql: string): Promise<R[]> => (await world.database.raw<{ rows: R[] }>(sql)).rows;
      try {
        for (const topic of ['marketplace.entitlements', 'controlplane.workspaces']) {
          const ends = await admin.fetchTopicOffsets(world.isolated.topicPrefix + topic);
          const at = await rowsOf<{ partition: number; position: number }>(`select partition, position from consumer_offsets where topic = '${world.isolated.topicPrefix}${topic}'`);
          if (at.length < ends.length || ends.some(({ partition, high }) => at.find((one) => one.partition === partition)?.position !== Number(high))) return 'inputs';
        }
        const [now] = await rowsOf<{ due: boolean; unsent: boolean; open: boolean }>(
          `select exists (select from pending) as due, exists (select from waybill_outbox where sent_at is null and refused_code is null) as unsent, minting_is_open() as open`,
        );
        return now?.open === true ? `${now.due ? 'due ' : ''}${now.unsent ? 'unsent' : ''}` : 'closed';
      } catch {
        return 'no database';
      }
    }, { timeout: 120_000, interval: 100 }).toBe('');
  } finally {
    await admin.disconnect();
  }
  await collected.caughtUp();
}

/** A base backup of the running server by its own functions, as pg_basebackup takes one; `meanwhile` happens during it. */
async function takeBaseBackup(to: string, meanwhile: () => Promise<void>): Promise<void> {
  const { data, user } = placePostgres(context.stateDir, context.credentials.databasePassword);
  const client = new pg.Client({ connectionString: urlOf('postgres') });
  await client.connect();
  try {
    await client.query(`select pg_backup_start('test', fast => true)`);
    execFileSync('cp', ['-a', data, to]);
    await meanwhile();
    const { rows: [label] } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop(wait_for_archive => false)');
    // The log up to the end of the backup, which alone makes the copy one moment.
    rmSync(join(to, 'pg_wal'), { recursive: true });
    execFileSync('cp', ['-a', join(data, 'pg_wal'), to]);
    writeFileSync(join(to, 'backup_label'), label?.labelfile ?? '');
    if (user !== undefined) chownSync(join(to, 'backup_label'), user.uid, user.gid);
    for (const file of ['postmaster.pid', 'postmaster.opts']) rmSync(join(to, file), { force: true });
  } finally {
    await client.end();
  }
}

async function restoreBaseBackup(from: string, meanwhile: () => Promise<void>): Promise<void> {
  const { data } = placePostgres(context.stateDir, context.credentials.databasePassword);
  await server.stop();
  await server.ended;
  await meanwhile();
  rmSync(data, { recursive: true });
  execFileSync('cp', ['-a', from, data]);
  server = await startPostgres(context);
}

test('a base backup of a running server put in its place, the roles and Kafka going on: the same state, no version used twice, no restart asked for again (I26, I25, I6)', async () => {
  const startedAt = performance.now();
  const variables = { WAYBILL_TOPIC_PREFIX: world.isolated.topicPrefix, WAYBILL_LEASE_MS: '5000', WAYBILL_LOG_LEVEL: 'info' };
  roles.push(startRole(world, { roles: ['entitlements', 'workspaces', 'relay', 'expiry'], variables }), startRole(world, { variables }));
  const [changed, refunded, during, born] = [new Tenant(), new Tenant(), new Tenant(), new Tenant()];
  for (const one of [changed, refunded, during, born]) await publish(one.bought('seo'), one.bought('seo-next'), one.bought('voice'));
  await publish(changed.wants('seo'), refunded.wants('seo-next', ['voice']));
  await atRest();
  await publish(changed.record({ status: 'online' }), refunded.record({ status: 'online' }));
  await atRest();

  const backup = join(folder, 'backup');
  await takeBaseBackup(backup, async () => { await publish(during.wants('seo', ['voice'])); });
  await atRest();
  // Changed while online, so that a restart is asked for, and booted; taken back while online and at boot; booted for the first time.
  await publish(changed.wants('seo-next', ['voice']), refunded.refunded('voice'), born.wants('seo'));
  await atRest();
  await publish(changed.boots(), refunded.boots());
  await atRest();
  await publish(changed.record({ status: 'online' }), refunded.record({ status: 'online' }), during.record({ status: 'online' }), born.record({ status: 'online' }));
  await atRest();
  const tenants = [changed, refunded, during, born];
  const workspaces = tenants.map(({ workspace }) => workspace);
  const before = await collected.state(workspaces);
  const restarts = async (): Promise<number> => (await collected.said('waybill.assets')).filter(({ type }) => type === 'RestartRequested').length;
  const asked = await restarts();
  const newest = new Map(await Promise.all(workspaces.map(async (workspace) => [workspace, Math.max(...(await collected.said('waybill.assets', workspace)).map(versionOf))] as const)));
  expect(world.files(changed.workspace)).toEqual(placed('seo-next', 'voice'));
  expect(world.files(refunded.workspace)).toEqual(placed('seo-next'));
  expect(asked).toBe(2);

  // Kafka goes on: an old purchase comes again while nobody is there to read it.
  await restoreBaseBackup(backup, async () => { await publish(changed.bought('seo')); });
  const backAt = performance.now();
  await atRest();
  const restMs = performance.now() - backAt;
  for (const role of roles) expect(role.end(), role.said().slice(-2_000)).toBeUndefined();
  expect(roles.map((role) => role.said()).join('')).toContain('the database was set back');
  expect(await collected.state(workspaces)).toEqual(before);
  expect(await restarts()).toBe(asked);

  // What comes now is said above everything that was said before.
  await publish(...tenants.map((tenant) => tenant.boots()));
  await atRest();
  for (const { workspace } of tenants) {
    const last = (await collected.said('waybill.assets', workspace)).at(-1) ?? expect.fail();
    expect([last.type, versionOf(last) > (newest.get(workspace) ?? 0)]).toEqual(['AssetsReady', true]);
  }
  await collected.expectNoVersionReused();
  recordFigures('base-backup', {
    about: 'base backup restored', events: collector.records.length, faults: { 'PostgreSQL restored to a base backup': 1 }, kept: { lost: 0, of: tenants.length },
    recoveryMs: { 'base backup started, all at rest': restMs }, seconds: (performance.now() - startedAt) / 1000,
  });
});
