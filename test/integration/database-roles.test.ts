import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import { createAuditHeads } from '../../adapters/s3/audit-heads.ts';
import { recordBaseline } from '../../catalogue/baselines.ts';
import { sha256 } from '../../catalogue/sha256.ts';
import { findItem } from '../../catalogue/lookup.ts';
import { moveSource } from '../../catalogue/release-source.ts';
import { changeStatus, setChannel } from '../../catalogue/releases.ts';
import { defaultTerms } from '../../catalogue/rollout.ts';
import { startRollout } from '../../catalogue/rollouts.ts';
import { entitlementsConsumer } from '../../consumers/entitlements.ts';
import { settleBatch } from '../../consumers/settle.ts';
import { advanceRollouts } from '../../delivery/advance-rollouts.ts';
import { askForProbes } from '../../delivery/probing.ts';
import { wakeNextPage } from '../../delivery/fan-out.ts';
import { foldRecords } from '../../delivery/fold-records.ts';
import { listDeliveries } from '../../delivery/list-deliveries.ts';
import { sweepPage } from '../../delivery/sweep.ts';
import { deliver } from '../../delivery/worker.ts';
import { listEntitlements } from '../../entitlements/list-entitlements.ts';
import { announceDue } from '../../entitlements/expiry.ts';
import { auditDenial } from '../../http/audit-denial.ts';
import type { WorkspaceCaller } from '../../http/identity.ts';
import { pruneProofsOnce, useProof } from '../../http/proof-records.ts';
import { applyDatabaseRoles, databaseRoleNames, roleName, tableRights, type DatabaseRole } from '../../migrations/database-roles.ts';
import { adoptPublished, linkBatch, sealSegment } from '../../process/audit-chainer.ts';
import { listAudit } from '../../process/list-audit.ts';
import { everyTenant, openDatabase, tenantTx, tx, type Database } from '../../process/database.ts';
import { silentLogger } from '../../process/log.ts';
import { claim } from '../../process/pending.ts';
import { markSent, readUnsent, refuseRows } from '../../producers/outbox-rows.ts';
import { Failure } from '../../process/failure.ts';
import { createCodec } from '../../schemas/codec.ts';
import { parseChannel, parseItemId, parseOrgId, parseVersion, parseWorkspaceId } from '../../schemas/ids.ts';
import { createKnownSchemas } from '../../schemas/known-schemas.ts';
import { parseEvent } from '../../schemas/parse-event.ts';
import { parseKnownRuntime } from '../../schemas/runtimes.ts';
import { connectionsAsEnvironment } from '../../stack/connections.ts';
import { waybill } from '../support/command-line.ts';
import { DeliveryWorld } from '../support/delivery-world.ts';
import { createMemoryRegistry } from '../support/memory-registry.ts';
import { openRoleLogins, type RoleLogins } from '../support/role-logins.ts';

/** Each kind of process under a login of its own: what it has to do works, and what it has no business with does not. */
let world: DeliveryWorld;
let logins: RoleLogins;
const orgs = { mine: randomUUID(), foreign: randomUUID() };
const workspaces = { mine: randomUUID(), foreign: randomUUID() };

beforeAll(async () => {
  world = await DeliveryWorld.open();
  expect(await applyDatabaseRoles(world.database)).toEqual(databaseRoleNames.map(roleName));
  logins = openRoleLogins(world.database, world.isolated.databaseUrl);
});
afterAll(async () => {
  await logins.drop();
  await world.close();
});

const envelope = () => ({ event_id: randomUUID(), occurred_at: Date.now(), caused_by: null, run_id: null });
const purchase = (org: string, version = 1) => parseEvent('Purchase', {
  ...envelope(), org_id: org, item_id: 'seo', purchase_id: 'p-1', entitlement_version: version, source: 'purchase', policy: 'stable', valid_from: 0, valid_until: version === 1 ? null : Date.now() - 1,
});
const record = (which: keyof typeof orgs, change: object = {}) => parseEvent('TemplateChanged', {
  ...envelope(), workspace_id: workspaces[which], org_id: orgs[which], runtime: 'claude-code', template: 'seo', plugins: [], status: 'provisioning', delivery_mode: 'volume',
  epoch: 1, generation: 1, record_version: 1, origin: 'user', ...change,
});
/** As the worker does it, to the end. */
async function deliverAll(database: Database): Promise<void> {
  while (await wakeNextPage(database));
  for (let claimed = await claim(database, 1, 60_000); claimed.length > 0; claimed = await claim(database, 1, 60_000)) {
    for (const one of claimed) await deliver({ ...world.deps, database }, one, 60_000, silentLogger);
  }
}
const count = async (database: Database, sql: string): Promise<number> => (await database.raw<{ rows: [{ n: number }] }>(`select count(*) as n from ${sql}`)).rows[0].n;

describe('each process does its work as its role', () => {
  test('publisher: a release, its approval, its channel, a baseline', async () => {
    const database = await logins.as('publisher');
    await world.publish('seo', '1.0.0', { 'system-prompt.md': 'one\n', 'config.yaml': 'temperature: 0.2\n' }, { database });
    await world.publish('seo', '1.1.0', { 'system-prompt.md': 'two\n', 'config.yaml': 'temperature: 0.2\n' }, { database });
    await changeStatus(database, { itemId: parseItemId('seo'), version: parseVersion('1.0.0'), status: 'yanked', reason: 'a test' });
    const terms = async (access: string): Promise<void> => { await world.database('items').where({ item_id: 'seo' }).update({ access }); };
    await terms('open');
    await world.database('releases').where({ item_id: 'seo' }).update({ repository: 'https://git.example.test/a/seo' });
    for (const source of ['open', 'brokered'] as const) await moveSource(database, { itemId: parseItemId('seo'), version: parseVersion('1.1.0'), source, reason: 'a test' });
    await terms('sold');
    await recordBaseline(database, { runtime: parseKnownRuntime('claude-code'), files: [{ path: 'skills/old.md', sha256: sha256('before') }], reason: 'a test' });
  });

  test('consumers: lines, records, positions, dead letters', async () => {
    const database = await logins.as('consumers');
    const codec = createCodec({ registry: createMemoryRegistry(), known: createKnownSchemas(database, 'http://registry') });
    const place = { consumer: 'entitlements', topic: 'marketplace.entitlements', partition: 0, clusterId: 'one' };
    await world.database('consumer_offsets').insert({ consumer: place.consumer, topic: place.topic, partition: 0, position: 0, cluster_id: 'one' });
    const events = [purchase(orgs.mine), purchase(orgs.foreign)];
    const records = await Promise.all(events.map(async (event, offset) => ({ offset, key: Buffer.from(`${event.event.org_id}/seo`), value: await codec.encode(event), headers: [] })));
    const poison = { offset: 2, key: Buffer.from('x'), value: Buffer.from('poison'), headers: [] };
    await settleBatch(entitlementsConsumer, { database, codec, log: silentLogger }, { place, held: 0, records: [...records, poison], next: 3 });
    expect(await count(world.database, 'dead_letters')).toBe(1);
    expect(await count(world.database, 'entitlement_lines')).toBe(2);
    for (const which of ['mine', 'foreign'] as const) {
      world.adopt(workspaces[which]);
      await tx(database, async (trx) => { await foldRecords(trx, [record(which)]); });
    }
    expect(await count(world.database, 'pending')).toBe(2);
  });

  test('deliveries: to ready, staged, refused and removed', async () => {
    const database = await logins.as('deliveries');
    await deliverAll(database);
    for (const which of ['mine', 'foreign'] as const) expect(Object.keys(world.files(workspaces[which]))).toEqual(['configs/config.yaml', 'configs/system-prompt.md']);
    const consumers = await logins.as('consumers');
    await tx(consumers, async (trx) => { await foldRecords(trx, [record('mine', { status: 'online', record_version: 2 })]); });
    await world.publish('seo', '1.2.0', { 'system-prompt.md': 'three\n', 'config.yaml': 'temperature: 0.2\n' }, { database: await logins.as('publisher') });
    await deliverAll(database);
    expect((await world.said(workspaces.mine)).map(({ type }) => type)).toEqual(['AssetsReady', 'RestartRequested']);
    await tx(consumers, async (trx) => { await foldRecords(trx, [record('mine', { epoch: 2, record_version: 3 })]); });
    await deliverAll(database);
    expect(world.files(workspaces.mine)['configs/system-prompt.md']).toBe('three\n');
    await changeStatus(await logins.as('publisher'), { itemId: parseItemId('seo'), version: parseVersion('1.2.0'), status: 'quarantined', reason: 'a test' });
    await deliverAll(database);
    expect(world.files(workspaces.mine)).toEqual({});
    expect((await world.said(workspaces.mine)).at(-1)).toMatchObject({ type: expect.stringMatching(/^Assets(?:Revoked|Rejected)$/u) as string });
  });

  test('rollouts: a channel in steps', async () => {
    const publisher = await logins.as('publisher');
    const name = { itemId: parseItemId('seo'), channel: parseChannel('stable') };
    await setChannel(publisher, { ...name, version: parseVersion('1.1.0'), reason: 'a test' });
    await world.publish('seo', '1.3.0', { 'system-prompt.md': 'four\n', 'config.yaml': 'temperature: 0.2\n' }, { database: publisher, channel: null });
    await startRollout(publisher, { ...name, version: parseVersion('1.3.0'), seed: randomUUID(), ...defaultTerms, steps: [5_000, 10_000], watchMs: 0, reason: 'a test' });
    const database = await logins.as('rollouts');
    let moved = [];
    do {
      await deliverAll(await logins.as('deliveries'));
      moved = await advanceRollouts(database);
    } while (moved.length > 0 && moved[0]?.rollout.state === 'running');
    expect(moved).toMatchObject([{ rollout: { state: 'done', step: 2 } }]);
  });

  test('sweeper: expiry, the sweep, probes', async () => {
    const database = await logins.as('sweeper');
    await tx(await logins.as('consumers'), async (trx) => { await entitlementsConsumer.apply(trx, [purchase(orgs.foreign, 2)]); });
    await world.database.raw(`update entitlements set next_change_at = clock_timestamp() where org_id = ?`, [orgs.foreign]);
    expect(await announceDue(database)).toBe(1);
    await world.database.raw('delete from pending');
    expect((await sweepPage(database, '00000000-0000-0000-0000-000000000000', { thirdPartySellers: false, leaseMs: 0 })).checked).toBeGreaterThan(0);
    await askForProbes(database, 0);
  });

  test('relay: reads, marks, refuses', async () => {
    const database = await logins.as('relay');
    const rows = await readUnsent(database, Array.from({ length: 16 }, (_, shard) => shard), []);
    expect(rows.length).toBeGreaterThan(3);
    const [first, second] = rows;
    if (first === undefined || second === undefined) return;
    await markSent(database, [{ id: first.id, topic: first.topic, partition: 0, offset: 7 }]);
    await refuseRows(database, [{ row: second, refusal: new Failure('poison', 'FIELD_INVALID', 'a test') }]);
    expect(await count(world.database, 'waybill_outbox where sent_at is not null or refused_code is not null')).toBe(2);
  });

  test('chainer: links and publishes', async () => {
    const database = await logins.as('chainer');
    const heads = createAuditHeads({ ...inject('stack').s3, bucket: world.isolated.bucket });
    try {
      expect(await adoptPublished(database, heads)).toEqual([]);
      expect(await linkBatch(database)).toBe(await count(world.database, 'audit'));
      expect(await sealSegment(database, heads)).toBeGreaterThan(10);
    } finally {
      heads.close();
    }
  });

  test('operator: explains, lists and verifies', async () => {
    const environment = {
      ...connectionsAsEnvironment(inject('stack')), WAYBILL_DATABASE_URL: await logins.urlOf('operator'), WAYBILL_DATABASE_SCHEMA: 'public',
      WAYBILL_S3_BUCKET: world.isolated.bucket, WAYBILL_STATE_DIR: '/nowhere/at/all',
    };
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    try {
      for (const line of [['deliveries', 'list'], ['dead-letters', 'list'], ['explain', workspaces.mine], ['explain', `${orgs.mine}/seo`], ['audit', 'verify']]) {
        expect(await waybill(...line), line.join(' ')).toMatchObject({ code: 0, err: '' });
      }
      expect((await waybill('release', 'quarantine', 'seo@1.0.0', '--reason', 'a test')).err).toContain('CONFIG_INVALID: PostgreSQL refuses this login: ');
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test('http: the catalogue, denials, and one tenant', async () => {
    const database = await logins.as('http');
    expect(await findItem(database, parseItemId('seo'))).toMatchObject({ itemId: 'seo' });
    const caller = { kind: 'workspace', workspaceId: parseWorkspaceId(workspaces.mine), orgId: parseOrgId(orgs.mine) } as WorkspaceCaller; // no more of it is looked at
    for (const one of [undefined, caller]) await auditDenial(database, { caller: one, method: 'GET', path: '/', code: 'NOT_FOUND', requestId: 'r' });
    const proof = randomBytes(32);
    expect(await useProof(database, proof, caller)).toMatchObject({ isFirstUse: true, record: { orgId: orgs.mine } });
    expect(await useProof(database, proof, caller)).toMatchObject({ isFirstUse: false });
    await pruneProofsOnce(database);
    for (const org of [orgs.mine, orgs.foreign]) {
      const [deliveries, entitlements, audit] = await tenantTx(database, org, async (trx) =>
        [await listDeliveries(trx, { limit: 9 }), await listEntitlements(trx, { limit: 9 }), await listAudit(trx, { limit: 200 })] as const);
      expect([deliveries.length, entitlements.length]).toEqual([1, 1]);
      expect(new Set(audit.map(({ orgId }) => orgId))).toEqual(new Set([org]));
    }
  });
});

describe('and nothing else', () => {
  test('each role has the rights of the table, and no other', async () => {
    const { rows } = await world.database.raw<{ rows: { role: string; table: string; may: string }[] }>(
      `select r.rolname as role, c.relname as table, string_agg(p.name, ', ' order by p.n) as may
       from pg_roles r cross join pg_class c cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) with ordinality p(name, n)
       where r.rolname = any(?) and c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and has_table_privilege(r.oid, c.oid, p.name)
       group by 1, 2`, [databaseRoleNames.map(roleName)],
    );
    // Rights on single columns are no rights on the table.
    const wholeTable = (rights: string): string => rights.split(/, (?![^(]*\))/u).filter((right) => !right.includes('(')).join(', ');
    const expected = Object.entries(tableRights).flatMap(([table, { rights }]) =>
      Object.entries(rights).map(([role, may]) => ({ role: roleName(role as DatabaseRole), table, may: wholeTable(may) })).filter(({ may }) => may !== ''));
    const sorted = (all: typeof rows) => all.map(({ role, table, may }) => `${role} ${table}: ${may}`).toSorted();
    expect(sorted(rows)).toEqual(sorted(expected));
  });

  test.each(databaseRoleNames)('%s alters no audit row, makes nothing, and reads no key of the migrations', async (role) => {
    const database = await logins.as(role);
    for (const statement of [
      'update audit set code = null', 'delete from audit', 'truncate audit', 'create table mine ()', 'alter table audit disable trigger all', 'drop policy of_tenant on audit',
      'select * from waybill_migrations', `insert into audit (at, subject_kind, subject_id, action, outcome) values ('epoch', 'item', 'x', 'x', 'x')`,
      `insert into audit (id, subject_kind, subject_id, action, outcome) overriding system value values (1, 'item', 'x', 'x', 'x')`, 'set role postgres',
    ]) {
      await expect(database.raw(statement), statement).rejects.toThrow(/permission denied|must be owner|is refused/u);
    }
  });
});

describe('a forgotten `where org_id` leaks nothing (I11)', () => {
  const tenantTables = Object.entries(tableRights).filter(([, { tenant }]) => tenant !== 'none');
  const seenBy = (role: DatabaseRole) => tenantTables.filter(([table, { rights, everyTenantFor = [] }]) =>
    (rights[role]?.startsWith('select') ?? false) && !everyTenantFor.includes(role) && table !== 'pending').map(([table]) => table);

  test.each(['http', 'deliveries'] as const)('%s sees the rows of the tenant of its transaction, none outside of one, and none of the one before', async (role) => {
    const database = await logins.as(role);
    for (const table of seenBy(role)) {
      const all = await count(world.database, table);
      const [{ rows: of }] = [await world.database.raw<{ rows: { org: string | null }[] }>(`select ${tableRights[table]?.tenant === 'workspace' ? `(select org_id from deliveries d where d.workspace_id = t.workspace_id)` : 'org_id'}::text as org from ${table} t`)];
      const own = of.filter(({ org }) => org === orgs.mine).length;
      expect(await count(database, table), table).toBe(0);
      await tenantTx(database, orgs.mine, async (trx) => { expect(await count(trx, table), table).toBe(own); });
      expect(await count(database, table), `${table}, on the same connection afterwards`).toBe(0);
      await tenantTx(database, randomUUID(), async (trx) => { expect(await count(trx, table), table).toBe(0); });
      await tenantTx(database, everyTenant, async (trx) => { expect(await count(trx, table), table).toBe(all); });
    }
  });

  test('there was something to leak', async () => {
    for (const table of seenBy('deliveries').filter((name) => tableRights[name]?.tenant === 'org')) {
      expect(await count(world.database, `${table} where org_id = '${orgs.foreign}'`), table).toBeGreaterThan(0);
    }
    expect(await count(world.database, `receipts where workspace_id = '${workspaces.foreign}'`)).toBeGreaterThan(0);
  });

  test('nor is a row of another tenant written', async () => {
    const database = await logins.as('deliveries');
    await tenantTx(database, orgs.mine, async (trx) => {
      for (const statement of [`update deliveries set parked_code = 'X'`, `update attempts set detail = 'X'`, 'delete from receipts', 'delete from workspace_items']) {
        await trx.raw(`${statement} where workspace_id = ?`, [workspaces.foreign]);
      }
    });
    expect(await count(world.database, `deliveries where parked_code = 'X'`)).toBe(0);
    expect(await count(world.database, `attempts where detail = 'X'`)).toBe(0);
    expect(await count(world.database, `receipts where workspace_id = '${workspaces.foreign}'`)).toBeGreaterThan(0);
    for (const [sql, values] of [
      ['insert into receipts (workspace_id, path, sha256, item_id, version) values (?, \'x\', \'x\', \'x\', \'x\')', [workspaces.foreign]],
      ['insert into workspace_items (item_id, workspace_id, via, org_id) values (\'x\', ?, \'held\', ?)', [workspaces.mine, orgs.foreign]],
      ['insert into audit (subject_kind, subject_id, org_id, action, outcome) values (\'item\', \'x\', ?, \'x\', \'x\')', [orgs.foreign]],
    ] as const) {
      await expect(tenantTx(database, orgs.mine, async (trx) => { await trx.raw(sql, values); }), sql).rejects.toThrow(/row-level security/u);
    }
  });

  test('the owner of the tables sees no more than others (FORCE)', async () => {
    const owner = new URL(world.isolated.databaseUrl);
    owner.username = `test_owner_${randomUUID().slice(0, 8)}`;
    owner.password = 'owner';
    await world.database.raw(`create role ${owner.username} login password 'owner'`);
    try {
      await world.database.raw(`alter table deliveries owner to ${owner.username}`);
      const database = openDatabase(owner.href);
      expect(await count(world.database, 'deliveries')).toBe(2);
      expect(await count(database, 'deliveries')).toBe(0);
      await database.destroy();
    } finally {
      await world.database.raw('alter table deliveries owner to current_user');
      await world.database.raw(`drop role ${owner.username}`);
    }
  });
});

test('the roles are applied again without a change, and again by a migration', async () => {
  await applyDatabaseRoles(world.database);
  for (const [name, value] of Object.entries({ ...connectionsAsEnvironment(inject('stack')), WAYBILL_DATABASE_URL: world.isolated.databaseUrl, WAYBILL_DATABASE_SCHEMA: 'public', WAYBILL_STATE_DIR: '/nowhere/at/all' })) vi.stubEnv(name, value);
  try {
    expect((await waybill('migrate')).out).toBe(`up to date\nroles: ${databaseRoleNames.map(roleName).join(', ')}\n`);
  } finally {
    vi.unstubAllEnvs();
  }
});
