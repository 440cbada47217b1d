import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { changeStatus, setChannel, type DecidedStatus, type StatusChange } from '../../catalogue/releases.ts';
import { wakeNextPage } from '../../delivery/fan-out.ts';
import { tx } from '../../process/database.ts';
import { lanes } from '../../process/pending.ts';
import { parseChannel, parseItemId, parseVersion } from '../../schemas/ids.ts';
import { DeliveryWorld, type Files } from '../support/delivery-world.ts';

/** What becomes of a release after it was published, seen from the workspaces: catalogue writes, fan-out, deliveries. */
let world: DeliveryWorld;
beforeAll(async () => { world = await DeliveryWorld.open(); });
afterAll(async () => { await world.close(); });

const template = (text: string): Files => ({ 'system-prompt.md': text, 'config.yaml': 'tone: calm\n', 'notes.md': 'n' });

/** An item that no other test has, entitled, with release 1.0.0 on `stable`. */
async function makeItem(terms: Parameters<DeliveryWorld['publish']>[3] = {}): Promise<string> {
  const item = `item-${randomUUID().slice(0, 8)}`;
  await world.publish(item, '1.0.0', template('one'), terms);
  await world.line(item);
  return item;
}

/** A workspace that has booted with the template and is online. */
async function online(item: string): Promise<string> {
  const workspace = randomUUID();
  await world.record(workspace, { template: item });
  await world.settle();
  await world.record(workspace, { status: 'online' });
  await world.settle();
  return workspace;
}

async function boot(workspace: string): Promise<void> {
  await world.record(workspace, { boot: true });
  await world.settle();
}

const change = async (item: string, status: DecidedStatus, version = '1.0.0', reason = 'a good reason'): Promise<StatusChange> =>
  await changeStatus(world.database, { itemId: parseItemId(item), version: parseVersion(version), status, reason });

const promptOf = (workspace: string): string | undefined => world.files(workspace)['configs/system-prompt.md'];
const lastSaid = async (workspace: string) => (await world.said(workspace)).at(-1);

interface Row {
  readonly [column: string]: unknown;
}
const rowsOf = async (sql: string, item: string): Promise<Row[]> => (await world.database.raw<{ rows: Row[] }>(sql, [item])).rows;

describe('a yanked release (B3)', () => {
  test('stays where it is, boots again there, and goes nowhere else', async () => {
    const item = await makeItem();
    const holder = await online(item);
    await expect(change(item, 'yanked')).resolves.toEqual({ changed: true, before: 'approved', channels: ['stable'], rollouts: [] });
    await world.settle();
    expect(promptOf(holder)).toBe('one');
    expect((await world.said(holder)).map(({ type }) => type)).toEqual(['AssetsReady']);
    await boot(holder);
    expect(promptOf(holder)).toBe('one');
    await expect(lastSaid(holder)).resolves.toMatchObject({ type: 'AssetsReady', body: { epoch: 2, items: [{ version: '1.0.0' }] } });

    const newcomer = randomUUID();
    await world.record(newcomer, { template: item });
    await world.settle();
    await expect(lastSaid(newcomer)).resolves.toMatchObject({ type: 'AssetsRejected', body: { code: 'RELEASE_NOT_APPROVED' } });
    expect(world.files(newcomer)).toEqual({});
  });

  test('is replaced where the channel is moved on, and the newcomer who waited gets that', async () => {
    const item = await makeItem();
    const holder = await online(item);
    await change(item, 'yanked');
    const newcomer = randomUUID();
    await world.record(newcomer, { template: item });
    await world.settle();
    await world.publish(item, '1.1.0', template('two'));
    await world.settle();
    expect(promptOf(newcomer)).toBe('two');
    await boot(holder);
    expect(promptOf(holder)).toBe('two');
  });
});

describe('a quarantined release', () => {
  test('C13: is gone now from a workspace that runs, said with its reason, with one restart to follow', async () => {
    const item = await makeItem();
    const workspace = await online(item);
    await expect(change(item, 'quarantined')).resolves.toMatchObject({ changed: true, before: 'approved', channels: ['stable'], rollouts: [] });
    await world.settle();
    expect(world.files(workspace)).toEqual({});
    const said = await world.said(workspace);
    expect(said.map(({ type }) => type)).toEqual(expect.arrayContaining(['AssetsRevoked', 'RestartRequested']));
    expect(said.find(({ type }) => type === 'AssetsRevoked')?.body).toMatchObject({ effect: 'removed', reason: 'quarantined', items: [{ item_id: item }] });
    await boot(workspace);
    expect(world.files(workspace)).toEqual({});
    await expect(lastSaid(workspace)).resolves.toMatchObject({ type: 'AssetsRejected', body: { code: 'RELEASE_NOT_APPROVED' } });
  });

  test.each(['paused', 'hibernated'] as const)('C13: is gone now from a %s workspace, also after it was yanked', async (status) => {
    const item = await makeItem();
    const workspace = await online(item);
    await change(item, 'yanked');
    await world.record(workspace, { status });
    await world.settle();
    expect(promptOf(workspace)).toBe('one');
    await change(item, 'quarantined');
    await world.settle();
    expect(world.files(workspace)).toEqual({});
  });

  test('that nobody holds any more takes nothing from who has another', async () => {
    const item = await makeItem();
    const workspace = await online(item);
    await world.publish(item, '1.1.0', template('two'));
    await world.settle();
    await boot(workspace);
    await change(item, 'quarantined');
    await world.settle();
    expect(promptOf(workspace)).toBe('two');
  });

  test('that is staged and not live yet goes with its plaintext, and what is live stays (I9)', async () => {
    const item = await makeItem();
    const workspace = await online(item);
    await world.publish(item, '1.1.0', template('two'));
    await world.settle();
    expect(world.residue(workspace).length).toBeGreaterThan(0);
    await change(item, 'quarantined', '1.1.0');
    await world.settle();
    expect(world.residue(workspace)).toEqual([]);
    expect(promptOf(workspace)).toBe('one');
  });

  test('stays so for good; the same again changes nothing', async () => {
    const item = await makeItem();
    await change(item, 'quarantined');
    await expect(change(item, 'quarantined')).resolves.toMatchObject({ changed: false });
    for (const status of ['approved', 'yanked'] as const) await expect(change(item, status)).rejects.toMatchObject({ kind: 'input', code: 'CONFLICT' });
    await expect(setChannel(world.database, { itemId: parseItemId(item), version: parseVersion('1.0.0'), channel: parseChannel('beta'), reason: 'x' })).rejects.toMatchObject({ code: 'RELEASE_NOT_APPROVED' });
  });
});

describe('a decision about a release', () => {
  test('A4: commits with its event, its audit and the fan-out: urgent for a quarantine alone', async () => {
    const item = await makeItem();
    await change(item, 'yanked', '1.0.0', '  breaks on large sites ');
    await change(item, 'quarantined', '1.0.0', 'malware');
    const events = await rowsOf(`select body->>'status' as status, (body->>'catalogue_version')::int as version from waybill_outbox where key = ? and type = 'ReleaseChanged' order by id`, item);
    expect(events).toEqual([{ status: 'approved', version: 2 }, { status: 'yanked', version: 4 }, { status: 'quarantined', version: 5 }]);
    const audit = await rowsOf(`select action, outcome, detail->>'reason' as reason, detail->>'before' as before from audit where subject_id = ? || '@1.0.0' and action in ('yank', 'quarantine') order by id`, item);
    expect(audit).toEqual([
      { action: 'yank', outcome: 'yanked', reason: 'breaks on large sites', before: 'approved' }, { action: 'quarantine', outcome: 'quarantined', reason: 'malware', before: 'yanked' },
    ]);
    await expect(rowsOf('select lane from fanouts where item_id = ? order by id', item)).resolves.toEqual([{ lane: 'live' }, { lane: 'live' }, { lane: 'urgent' }]);
  });

  test('needs a reason', async () => {
    const item = await makeItem();
    for (const reason of ['', ' \n', 'x'.repeat(1_001)]) await expect(change(item, 'yanked', '1.0.0', reason)).rejects.toMatchObject({ kind: 'input', code: 'FIELD_INVALID' });
    await expect(change(item, 'yanked', '9.9.9')).rejects.toMatchObject({ kind: 'input', code: 'NOT_FOUND' });
  });

  test('C13: what is urgent is woken before the pages of what is not, and claimed first', async () => {
    const [popular, bad] = [await makeItem(), await makeItem()];
    const [fan, victim] = [await online(popular), await online(bad)];
    await world.settle();
    const crowd = Array.from({ length: 1_200 }, () => randomUUID());
    await tx(world.database, async (trx) => {
      await trx.raw(`insert into workspace_items (item_id, workspace_id, via, org_id) select ?, w, 'named', gen_random_uuid() from unnest(?::uuid[]) w`, [popular, crowd]);
    });
    await world.publish(popular, '1.1.0', template('two'));
    await wakeNextPage(world.database);
    await change(bad, 'quarantined');
    await wakeNextPage(world.database);
    const { rows } = await world.database.raw<{ rows: Row[] }>('select workspace_id, lane from pending where workspace_id = any(?::uuid[])', [[victim]]);
    expect(rows).toEqual([{ workspace_id: victim, lane: lanes.urgent }]);
    expect((await world.claim(1))?.workspaceId).toBe(victim);
    await world.database.raw('delete from workspace_items where workspace_id = any(?::uuid[])', [crowd]);
    await world.settle();
    expect([promptOf(fan), promptOf(victim)]).toEqual(['one', undefined]);
  });
});

describe('a third party\'s item (C16)', () => {
  test('C16: is published and approved like any other, and resolves for nobody until third parties are switched on', async () => {
    const item = await makeItem({ seller: 'acme' });
    const workspace = randomUUID();
    await world.record(workspace, { template: item });
    await world.settle();
    await expect(lastSaid(workspace)).resolves.toMatchObject({ type: 'AssetsRejected', body: { code: 'SELLER_NOT_ENABLED' } });
    expect(world.files(workspace)).toEqual({});

    await boot(workspace);
    expect(world.files(workspace)).toEqual({});
    await world.record(workspace, { boot: true });
    await world.settle({ ...world.deps, options: { ...world.deps.options, thirdPartySellers: true } });
    expect(promptOf(workspace)).toBe('one');
  });
});
