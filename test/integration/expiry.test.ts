import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';

import { applyEntitlementBatch } from '../../entitlements/apply-batch.ts';
import { announceDue, runExpiry } from '../../entitlements/expiry.ts';
import type { LineEvent } from '../../entitlements/line.ts';
import { readEntitlements } from '../../entitlements/read-entitlements.ts';
import { tx, type Database } from '../../process/database.ts';
import { silentLogger } from '../../process/log.ts';
import type { EntitlementChanged } from '../../schemas/generated/events.ts';
import { parseItemId, parsePurchaseId } from '../../schemas/ids.ts';
import { emptyTables } from '../support/empty-tables.ts';
import { items, orgs, purchase, revoke, workspaces } from '../support/histories.ts';
import { createTestDatabase, type TestDatabase } from '../support/pipeline.ts';

let context: TestDatabase;
let database: Database;

beforeAll(async () => {
  context = await createTestDatabase();
  database = context.database;
});
afterAll(async () => { await context.drop(); });
beforeEach(async () => {
  vi.useRealTimers();
  await emptyTables(database, 'entitlement_lines', 'entitlements', 'entitlement_revisions', 'waybill_outbox', 'audit', 'deliveries', 'workspace_items', 'pending');
});

const apply = async (...events: LineEvent[]): Promise<void> => { await tx(database, async (trx) => await applyEntitlementBatch(trx, events)); };
const rowsOf = async <R>(sql: string): Promise<R[]> => (await database.raw<{ rows: R[] }>(sql)).rows;
const published = async (): Promise<EntitlementChanged[]> =>
  (await rowsOf<{ body: EntitlementChanged }>('select body from waybill_outbox order by id')).map(({ body }) => body);
const entitled = async (): Promise<boolean[]> => (await published()).map((event) => event.entitled);
/** As if the time had passed: what was stored of the pairs stays, their lines and next changes move into the past. */
const passHours = async (hours: number): Promise<void> => {
  await database.raw(`update entitlement_lines set valid_from = valid_from - ? * interval '1 hour', valid_until = valid_until - ? * interval '1 hour'`, [hours, hours]);
  await database.raw(`update entitlements set next_change_at = next_change_at - ? * interval '1 hour'`, [hours]);
};
const hour = 3_600_000;
const until = (ms: number): LineEvent => purchase({ valid_from: Date.now() - hour, valid_until: Date.now() + ms });

describe('the announcement of a validity that has passed', () => {
  test('A7: says that the pair ended, wakes its workspaces and mints no entitlement_version', async () => {
    await database.raw('insert into deliveries (workspace_id, org_id) values (?, ?)', [workspaces[0] ?? '', orgs[0] ?? '']);
    await database.raw('insert into workspace_items (item_id, workspace_id, via, org_id) values (?, ?, \'named\', ?)', [items[0] ?? '', workspaces[0] ?? '', orgs[0] ?? '']);
    await apply(until(hour));
    await database.raw('truncate pending');
    const lines = await rowsOf('select entitlement_version, digest from entitlement_lines');
    await passHours(2);

    expect(await announceDue(database)).toBe(1);

    expect((await published())[1]).toMatchObject({
      entitled: false, policy: null, reason: 'expired', valid_until: null, caused_by: null, entitlement_revision: 2,
      lines: [{ purchase_id: 'p-1', entitlement_version: 1, live: false }],
    });
    expect(await rowsOf('select workspace_id from pending')).toEqual([{ workspace_id: workspaces[0] }]);
    expect(await rowsOf('select entitlement_version, digest from entitlement_lines')).toEqual(lines);
    expect(await rowsOf('select subject_kind, subject_id, outcome from audit where subject_kind = \'expiry\'')).toEqual([
      { subject_kind: 'expiry', subject_id: `${orgs[0]}/${items[0]}`, outcome: 'due' },
    ]);
  });

  test('A7: says that a pair began', async () => {
    await apply(purchase({ valid_from: Date.now() + hour }));
    await passHours(2);
    await announceDue(database);
    expect(await entitled()).toEqual([false, true]);
  });

  test('is made once, also by two emitters at the same moment', async () => {
    await apply(...Array.from({ length: 20 }, (_, n) => purchase({ item_id: parseItemId(`item-${n}`), valid_from: Date.now() - hour, valid_until: Date.now() + hour })));
    await passHours(2);
    await Promise.all([announceDue(database), announceDue(database), announceDue(database)]);
    expect((await published()).filter((event) => !event.entitled)).toHaveLength(20);
    expect(await announceDue(database)).toBe(0);
  });

  test('races renewals and refunds and loses neither: at rest a pair is what its lines say, said last, under revisions that only grow (A7, I2)', async () => {
    for (let round = 0; round < 60; round += 1) {
      const item_id = parseItemId(`renewed-${round}`);
      const isRefund = round % 3 === 0;
      await apply(purchase({ item_id, valid_from: Date.now() - hour, valid_until: Date.now() + hour }));
      await database.raw(`update entitlement_lines set valid_until = valid_until - interval '2 hours' where item_id = ?`, [item_id]);
      await database.raw(`update entitlements set next_change_at = next_change_at - interval '2 hours' where item_id = ?`, [item_id]);
      const terms = { item_id, entitlement_version: 2, valid_from: Date.now() - hour };
      const change = isRefund ? revoke({ ...terms, valid_until: null, ended_at: Date.now(), reason: 'refund' }) : purchase({ ...terms, valid_until: Date.now() + 9 * hour });

      await Promise.all([announceDue(database), apply(change), announceDue(database)]);

      expect(await announceDue(database), item_id).toBe(0);
      const words = (await published()).filter((event) => event.item_id === item_id);
      expect(words.at(-1), item_id).toMatchObject({ entitled: !isRefund, reason: isRefund ? 'refund' : null, lines: [{ entitlement_version: 2 }] });
      expect(words.map((event) => event.entitlement_revision), item_id).toEqual(words.map((_, at) => at + 1));
      expect(words.filter((event) => event.reason === 'expired').length, item_id).toBeLessThanOrEqual(1);
      expect(await rowsOf(`select entitled from entitlements where item_id = '${item_id}'`)).toEqual([{ entitled: !isRefund }]);
    }
  });

  test('leaves the others of the pair standing', async () => {
    await apply(until(hour), purchase({ purchase_id: parsePurchaseId('p-2'), valid_from: Date.now() - hour, valid_until: Date.now() + 9 * hour }));
    await passHours(2);
    await announceDue(database);
    expect((await published())[1]).toMatchObject({ entitled: true, reason: null, lines: [{ live: false }, { live: true }] });
    expect(await announceDue(database)).toBe(0);
  });

  test('is not needed for the refusal: what is read is judged by the clock of the database (A7, A8)', async () => {
    await apply(until(hour));
    await passHours(2);
    const [org, item] = [orgs[0] ?? expect.fail(), items[0] ?? expect.fail()];
    const read = await tx(database, async (trx) => await readEntitlements(trx, org, [item]));
    expect(read.get(item)).toMatchObject({ entitled: false, reason: 'expired' });
  });

  test('I21: is not made early by a process whose clock is an hour fast', async () => {
    await apply(until(hour / 2));
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + hour });
    expect(await announceDue(database)).toBe(0);
  });
});

describe('the emitter', () => {
  test('A7: announces within moments of the end, and stops when it is told to', async () => {
    const abort = new AbortController();
    const running = runExpiry({ database, signal: abort.signal, log: silentLogger });
    await apply(until(400));
    await expect.poll(entitled, { timeout: 5_000, interval: 20 }).toEqual([true, false]);
    abort.abort();
    await running;
  });

  test('waits for a database that is away and goes on', async () => {
    const abort = new AbortController();
    const running = runExpiry({ database, signal: abort.signal, log: silentLogger });
    await database.raw('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()');
    await apply(until(200));
    await expect.poll(entitled, { timeout: 10_000, interval: 20 }).toEqual([true, false]);
    abort.abort();
    await running;
  });
});
