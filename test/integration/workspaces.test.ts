import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { foldRecords, writeRecords } from '../../delivery/fold-records.ts';
import { recordOf, type RecordEvent, type WorkspaceRecord } from '../../delivery/workspace-record.ts';
import { applyEntitlementBatch } from '../../entitlements/apply-batch.ts';
import { decide, foldBatch, type BatchResult } from '../../entitlements/decide.ts';
import { tx, type Database } from '../../process/database.ts';
import { parseWorkspaceId } from '../../schemas/ids.ts';
import { emptyTables } from '../support/empty-tables.ts';
import { historyTwice, items, orgs, provisioned, purchase, recordEvent, workspaces } from '../support/histories.ts';
import { createTestDatabase, type TestDatabase } from '../support/pipeline.ts';

let context: TestDatabase;
let database: Database;

beforeAll(async () => {
  context = await createTestDatabase();
  database = context.database;
});
afterAll(async () => { await context.drop(); });
beforeEach(async () => {
  await emptyTables(database, 'workspace_records', 'templated_workspaces', 'workspace_items', 'deliveries', 'pending', 'audit', 'waybill_outbox', 'entitlement_lines', 'entitlements');
});

const fold = async (...events: RecordEvent[]): Promise<BatchResult> => await tx(database, async (trx) => await foldRecords(trx, events));
const rowsOf = async <R>(sql: string): Promise<R[]> => (await database.raw<{ rows: R[] }>(sql)).rows;
const records = async (): Promise<unknown[]> => await rowsOf(
  'select workspace_id, record_version, removed, digest, org_id, template, plugins, status, epoch, generation from workspace_records order by workspace_id',
);
const asRow = (record: WorkspaceRecord): unknown => ({
  workspace_id: record.workspaceId, record_version: record.version, removed: record.ended, digest: record.digest, org_id: record.orgId,
  template: record.template, plugins: record.plugins, status: record.status, epoch: record.epoch, generation: record.generation,
});
const named = async (): Promise<unknown[]> => (await rowsOf<{ item_id: string }>('select item_id from workspace_items where via = \'named\' order by item_id')).map(({ item_id }) => item_id);
const due = async (): Promise<unknown[]> => await rowsOf('select workspace_id, lane from pending order by workspace_id');
const [mine, other] = workspaces;
const [template, plugin, another] = items;

describe('a batch of workspace events', () => {
  test('A4: record, audit, delivery row, named items and wake are one commit', async () => {
    const event = provisioned({ template: template ?? null, plugins: [plugin ?? expect.fail()] });
    expect((await fold(event)).counts).toEqual({ applied: 1, superseded: 0, duplicate: 0, conflict: 0 });
    expect(await records()).toEqual([asRow(recordOf(event))]);
    expect(await named()).toEqual(['house-rules', 'seo-agent']);
    expect(await due()).toEqual([{ workspace_id: mine, lane: 1 }]);
    expect(await rowsOf('select subject_kind, subject_id, action, outcome, caused_by from audit')).toEqual([{
      subject_kind: 'workspace', subject_id: mine, action: 'WorkspaceProvisioned', outcome: 'applied', caused_by: event.event.event_id,
    }]);
  });

  test('C6, I15: a workspace that never had a template or plugin leaves no delivery row, no wake, no named item, no event', async () => {
    await fold(provisioned(), provisioned({ record_version: 2, status: 'online' }), provisioned({ record_version: 3, epoch: 2 }));
    await fold(provisioned({ record_version: 4, status: 'removed' }));
    expect(await rowsOf('select from deliveries union all select from pending union all select from workspace_items union all select from waybill_outbox')).toEqual([]);
    expect(await records()).toHaveLength(1);
  });

  test('C6: once it had one, every later change is looked at, also when it is cleared', async () => {
    await fold(provisioned({ template: template ?? null }));
    await database.raw('truncate pending');
    await fold(provisioned({ record_version: 2, generation: 2 }));
    expect(await due()).toEqual([{ workspace_id: mine, lane: 1 }]);
    // Where it hears of the baseline of its runtime.
    expect(await named()).toEqual(['baseline:claude-code']);
    expect(await rowsOf('select workspace_id from deliveries')).toEqual([{ workspace_id: mine }]);
  });

  test('C6: whether it ever had one does not depend on the order or the cut of the batches', async () => {
    const [had, cleared] = [provisioned({ template: template ?? null }), provisioned({ record_version: 2 })];
    for (const batches of [[[had, cleared]], [[cleared, had]], [[had], [cleared]], [[cleared], [had]]]) {
      await database.raw('truncate workspace_records, templated_workspaces, workspace_items, deliveries, pending');
      for (const batch of batches) await fold(...batch);
      expect(await rowsOf('select workspace_id from deliveries')).toEqual([{ workspace_id: mine }]);
      expect(await due()).toEqual([{ workspace_id: mine, lane: 1 }]);
      expect(await records()).toEqual([asRow(recordOf(cleared))]);
      expect(await named()).toEqual(['baseline:claude-code']);
    }
  });

  test('the named items follow the record, and held ones are left alone', async () => {
    await fold(provisioned({ template: template ?? null, plugins: [plugin ?? expect.fail()] }));
    await database.raw('insert into workspace_items (item_id, workspace_id, via, org_id) values (?, ?, \'held\', ?)', [template ?? '', mine ?? '', orgs[0] ?? '']);
    await fold(provisioned({ record_version: 2, plugins: [another ?? expect.fail()] }));
    expect(await named()).toEqual(['baseline:claude-code', another]);
    expect(await rowsOf('select item_id from workspace_items where via = \'held\'')).toEqual([{ item_id: template }]);
    await fold(provisioned({ record_version: 3, plugins: [another ?? expect.fail()], org_id: orgs[1] ?? expect.fail() }));
    expect(await rowsOf('select distinct org_id from workspace_items where via = \'named\'')).toEqual([{ org_id: orgs[1] }]);
    await fold(provisioned({ record_version: 4, plugins: [another ?? expect.fail()], status: 'removed' }));
    expect(await named()).toEqual([]);
  });

  test('an event that changes nothing wakes nobody', async () => {
    const event = provisioned({ template: template ?? null, record_version: 2 });
    await fold(event);
    await database.raw('truncate pending');
    expect((await fold(event, provisioned({ template: template ?? null }))).counts).toMatchObject({ duplicate: 1, superseded: 1 });
    expect(await due()).toEqual([]);
  });

  test('A6: a conflict is resolved by the order and reported, whichever comes first', async () => {
    const [live, removed] = [provisioned({ template: template ?? null }), provisioned({ status: 'removed' })];
    for (const [first, second] of [[live, removed], [removed, live]] as const) {
      await emptyTables(database, 'workspace_records', 'audit');
      await fold(first);
      const { counts, conflicts } = await fold(second);
      expect(counts).toMatchObject({ applied: 0, conflict: 1 });
      expect(conflicts).toEqual([{ subject: mine, version: 1, eventId: second.event.event_id, won: second === removed }]);
      expect(await rowsOf('select detail->>\'lost\' as lost from audit where code = \'CONFLICT\'')).toEqual([{ lost: recordOf(live).digest }]);
      expect(await records()).toEqual([asRow(recordOf(removed))]);
    }
  });

  test('a backfill is woken in its own lane', async () => {
    await fold(
      provisioned({ template: template ?? null, origin: 'backfill' }),
      provisioned({ template: template ?? null, workspace_id: other ?? expect.fail() }),
    );
    expect(await due()).toEqual([{ workspace_id: mine, lane: 2 }, { workspace_id: other, lane: 1 }]);
  });

  test('takes as many statements for a thousand events as for one', async () => {
    const statements = async (events: RecordEvent[]): Promise<number> => {
      let count = 0;
      const onQuery = (): void => { count += 1; };
      database.on('query', onQuery);
      await fold(...events);
      database.off('query', onQuery);
      return count;
    };
    const one = await statements([provisioned({ template: template ?? null })]);
    const many = Array.from({ length: 1000 }, (_, n) => provisioned({
      template: template ?? null, workspace_id: parseWorkspaceId(`00000000-0000-4000-8000-${String(n + 1000).padStart(12, '0')}`),
    }));
    expect(await statements(many)).toBe(one);
  });
});

describe('generated histories on the real PostgreSQL', () => {
  test('I1: the table is what the pure fold gives, in every order, with any repetition, however it is cut into batches', async () => {
    await fc.assert(fc.asyncProperty(historyTwice(recordEvent, 16), fc.integer({ min: 1, max: 8 }), async ({ first, second }, size) => {
      const expected = [...foldBatch(new Map<string, WorkspaceRecord>(), first, recordOf, (record) => record.workspaceId).changed.values()];
      const rows = expected.toSorted((a, b) => (a.workspaceId < b.workspaceId ? -1 : 1)).map(asRow);
      const after: unknown[] = [];
      for (const history of [first, second]) {
        await database.raw('truncate workspace_records, workspace_items, deliveries, pending');
        for (let from = 0; from < history.length; from += size) await fold(...history.slice(from, from + size));
        expect(await records()).toEqual(rows);
        after.push([
          await rowsOf('select item_id, workspace_id, org_id from workspace_items order by 1, 2'),
          await rowsOf('select workspace_id from deliveries order by 1'),
        ]);
      }
      expect(after[1]).toEqual(after[0]);
    }), { numRuns: 25 });
  });

  test('I2: the guarded write lets win exactly what decide lets win', async () => {
    await fc.assert(fc.asyncProperty(historyTwice(recordEvent, 16), async ({ second: history }) => {
      await database.raw('truncate workspace_records');
      const held = new Map<string, WorkspaceRecord>();
      for (const event of history) {
        const record = recordOf(event);
        const decision = decide(held.get(record.workspaceId), record);
        const won = await tx(database, async (trx) => await writeRecords(trx, [{ record, eventId: event.event.event_id }]));
        expect(won).toBe(decision.kind === 'changed' ? 1 : 0);
        if (decision.kind === 'changed') held.set(record.workspaceId, record);
      }
    }), { numRuns: 25 });
  });
});

describe('C12: a workspace and its entitlement in one moment', () => {
  const name = provisioned({ template: template ?? null });

  test.each(['the record', 'the purchase'])('whoever commits second, the workspace is due after it: %s first', async (first) => {
    const record = await database.transaction();
    await foldRecords(record, [name]);
    const line = await database.transaction();
    await applyEntitlementBatch(line, [purchase()]);
    // Neither saw the other; neither waited.
    if (first === 'the record') await record.commit();
    await line.commit();
    if (first !== 'the record') await record.commit();
    expect(await due()).toEqual([{ workspace_id: mine, lane: 1 }]);
  });

  test('a purchase that comes after the record wakes it, although it was parked meanwhile', async () => {
    await fold(name);
    await database.raw('truncate pending');
    await tx(database, async (trx) => await applyEntitlementBatch(trx, [purchase()]));
    expect(await due()).toEqual([{ workspace_id: mine, lane: 1 }]);
  });

  test('two folds of a workspace that was never seen: one waits, is refused and folds again', async () => {
    const first = await database.transaction();
    await foldRecords(first, [provisioned({ record_version: 2 })]);
    const second = fold(provisioned({ record_version: 1 }));
    await expect.poll(async () => await rowsOf(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`), { timeout: 5_000, interval: 10 }).toHaveLength(1);
    await first.commit();
    await expect(second).rejects.toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
    expect((await fold(provisioned({ record_version: 1 }))).counts).toMatchObject({ superseded: 1 });
  });
});
