import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';

import { wakeNextPage } from '../../delivery/fan-out.ts';
import { applyEntitlementBatch } from '../../entitlements/apply-batch.ts';
import { decide, foldBatch, type BatchResult } from '../../entitlements/decide.ts';
import { lineKeyOf, lineOf, type Line, type LineEvent } from '../../entitlements/line.ts';
import { loadLines, writeLines } from '../../entitlements/sql.ts';
import { tx, type Database } from '../../process/database.ts';
import { lockOrgItems } from '../../process/locks.ts';
import type { EntitlementChanged } from '../../schemas/generated/events.ts';
import { parsePurchaseId, type ItemId, type OrgId } from '../../schemas/ids.ts';
import { emptyTables } from '../support/empty-tables.ts';
import { historyTwice, items, lineEvent, noon, orgs, purchase, revoke, workspaces } from '../support/histories.ts';
import { createTestDatabase, type TestDatabase } from '../support/pipeline.ts';

let context: TestDatabase;
let database: Database;

beforeAll(async () => {
  context = await createTestDatabase();
  database = context.database;
});
afterAll(async () => { await context.drop(); });
beforeEach(async () => {
  await emptyTables(database, 'entitlement_lines', 'entitlements', 'entitlement_revisions', 'waybill_outbox', 'audit', 'deliveries', 'workspace_items', 'pending');
});

const apply = async (...events: LineEvent[]): Promise<BatchResult> => await tx(database, async (trx) => await applyEntitlementBatch(trx, events));
const pair = { orgId: orgs[0] as OrgId, itemId: items[0] as ItemId }; // the pools are not empty
const stored = async (): Promise<Map<string, Line>> => {
  const pairs = orgs.flatMap((orgId) => items.map((itemId) => ({ orgId, itemId })));
  const lines = await tx(database, async (trx) => await loadLines(trx, pairs));
  return new Map(lines.map((line) => [lineKeyOf(line), line]));
};
const rowsOf = async <R>(sql: string): Promise<R[]> => (await database.raw<{ rows: R[] }>(sql)).rows;
const published = async (): Promise<EntitlementChanged[]> =>
  (await rowsOf<{ body: EntitlementChanged }>('select body from waybill_outbox order by id')).map(({ body }) => body);
const sorted = <V>(map: ReadonlyMap<string, V>): [string, V][] => [...map].toSorted(([a], [b]) => (a < b ? -1 : 1));

describe('a batch of purchases and revocations', () => {
  test('A4: line, state, audit and event are one commit', async () => {
    const event = purchase();
    expect((await apply(event)).counts).toEqual({ applied: 1, superseded: 0, duplicate: 0, conflict: 0 });
    expect(sorted(await stored())).toEqual([[lineKeyOf(lineOf(event)), lineOf(event)]]);
    expect(await published()).toMatchObject([{
      caused_by: event.event.event_id, entitled: true, policy: 'stable', valid_until: null, reason: null, entitlement_revision: 1,
      lines: [{ purchase_id: 'p-1', entitlement_version: 1, live: true }],
    }]);
    expect(await rowsOf('select subject_kind, subject_id, action, outcome, caused_by from audit')).toEqual([{
      subject_kind: 'line', subject_id: lineKeyOf(lineOf(event)), action: 'Purchase', outcome: 'applied', caused_by: event.event.event_id,
    }]);
  });

  test('A4: a transaction that fails leaves nothing of them', async () => {
    await expect(tx(database, async (trx) => {
      await applyEntitlementBatch(trx, [purchase()]);
      throw new Error('the process ends here');
    })).rejects.toThrow('the process ends here');
    expect((await stored()).size).toBe(0);
    expect(await rowsOf('select from waybill_outbox union all select from audit union all select from entitlements')).toEqual([]);
  });

  test('A6: revoke before purchase, and a duplicate purchase after the revoke, come out revoked', async () => {
    await apply(revoke({ entitlement_version: 2 }));
    expect((await apply(purchase(), purchase())).counts).toMatchObject({ superseded: 2 });
    expect((await published()).map(({ entitled, reason }) => [entitled, reason])).toEqual([[false, 'refund']]);
  });

  test('a refund and a re-buy under a new purchase_id come out entitled, in any order', async () => {
    const events = [purchase(), revoke(), purchase({ purchase_id: parsePurchaseId('p-2') })];
    for (const order of [[0, 1, 2], [2, 1, 0], [1, 2, 0]]) {
      await database.raw('truncate entitlement_lines, entitlements');
      for (const index of order) await apply(events[index] ?? expect.fail());
      expect(await rowsOf('select entitled, reason from entitlements')).toEqual([{ entitled: true, reason: null }]);
    }
  });

  test('the revision of a pair grows by one with each commit that changes it, however many events that took', async () => {
    await apply(purchase(), revoke());
    await apply(purchase({ purchase_id: parsePurchaseId('p-2') }));
    await apply(purchase());
    expect((await published()).map(({ entitlement_revision }) => entitlement_revision)).toEqual([1, 2]);
  });

  test('A6: a conflict is resolved by the order and reported, whichever comes first', async () => {
    const [live, ended] = [purchase({ entitlement_version: 2 }), revoke({ entitlement_version: 2 })];
    for (const [first, second] of [[live, ended], [ended, live]] as const) {
      await emptyTables(database, 'entitlement_lines', 'entitlements', 'audit');
      await apply(first);
      const { counts, conflicts } = await apply(second);
      expect(counts).toMatchObject({ applied: 0, conflict: 1 });
      expect(conflicts).toEqual([{ subject: lineKeyOf(lineOf(live)), version: 2, eventId: second.event.event_id, won: second === ended }]);
      expect(await rowsOf('select code, outcome, caused_by, detail->>\'lost\' as lost from audit where code is not null')).toEqual([
        { code: 'CONFLICT', outcome: 'conflict', caused_by: second.event.event_id, lost: lineOf(live).digest },
      ]);
      expect([...(await stored()).values()].map((line) => line.ended)).toEqual([true]);
    }
  });

  test('takes as many statements for a thousand events as for one', async () => {
    const statements = async (events: LineEvent[]): Promise<number> => {
      let count = 0;
      const onQuery = (): void => { count += 1; };
      database.on('query', onQuery);
      await apply(...events);
      database.off('query', onQuery);
      return count;
    };
    const one = await statements([purchase()]);
    const many = Array.from({ length: 1000 }, (_, n) => purchase({ purchase_id: parsePurchaseId(`p-${n + 10}`) }));
    expect(await statements(many)).toBe(one);
  });

  test('EntitlementChanged names at most 100 lines, the live ones before the others', async () => {
    const lines = Array.from({ length: 150 }, (_, n) => (n < 149 ? revoke : purchase)({ purchase_id: parsePurchaseId(`p-${String(n).padStart(3, '0')}`) }));
    await apply(...lines);
    const [event] = await published();
    expect(event?.lines).toHaveLength(100);
    expect(event?.lines.at(-1)).toEqual({ purchase_id: 'p-149', entitlement_version: 1, live: true });
    expect(event?.lines.map(({ purchase_id }) => purchase_id)).toEqual(event?.lines.map(({ purchase_id }) => purchase_id).toSorted());
  });
});

describe('generated histories on the real PostgreSQL', () => {
  test('I1: the table is what the pure fold gives, in every order, with any repetition, however it is cut into batches', async () => {
    await fc.assert(fc.asyncProperty(historyTwice(lineEvent, 16), fc.integer({ min: 1, max: 8 }), async ({ first, second }, size) => {
      const expected = foldBatch(new Map<string, Line>(), first, lineOf, lineKeyOf).changed;
      for (const history of [first, second]) {
        await database.raw('truncate entitlement_lines, entitlements');
        for (let from = 0; from < history.length; from += size) {
          const batch = history.slice(from, from + size);
          const { counts } = await apply(...batch);
          expect(Object.values(counts).reduce((sum, count) => sum + count)).toBe(batch.length);
        }
        expect(sorted(await stored())).toEqual(sorted(expected));
      }
    }), { numRuns: 25 });
  });

  test('I2: the guarded write lets win exactly what decide lets win', async () => {
    await fc.assert(fc.asyncProperty(historyTwice(lineEvent, 16), async ({ second: history }) => {
      await database.raw('truncate entitlement_lines');
      let held = new Map<string, Line>();
      for (const event of history) {
        const line = lineOf(event);
        const decision = decide(held.get(lineKeyOf(line)), line);
        const won = await tx(database, async (trx) => await writeLines(trx, [{ line, eventId: event.event.event_id }]));
        expect(won).toBe(decision.kind === 'changed' ? 1 : 0);
        if (decision.kind === 'changed') held = new Map([...held, [lineKeyOf(line), line]]);
      }
      expect(sorted(await stored())).toEqual(sorted(held));
    }), { numRuns: 25 });
  });
});

describe('validity', () => {
  afterEach(() => { vi.useRealTimers(); });

  test.each([['an hour fast', 3_600_000], ['an hour slow', -3_600_000]])('I21: is judged by the clock of the database, also in a process whose clock is %s', async (_, skew) => {
    const now = Date.now();
    vi.useFakeTimers({ toFake: ['Date'], now: now + skew });
    await apply(
      purchase({ valid_from: now - 60_000, valid_until: now + 60_000 }),
      purchase({ item_id: items[1] ?? expect.fail(), valid_from: now + 60_000 }),
      purchase({ item_id: items[2] ?? expect.fail(), valid_from: noon, valid_until: now - 60_000 }),
    );
    const judged = new Map((await published()).map(({ item_id, entitled, reason }) => [item_id, { entitled, reason }]));
    expect(items.map((item) => judged.get(item))).toEqual([
      { entitled: true, reason: null }, { entitled: false, reason: null }, { entitled: false, reason: 'expired' },
    ]);
  });
});

describe('wakes', () => {
  const [mine, other] = workspaces;
  const hold = async (workspaceId: string | undefined, via: string, itemId = pair.itemId, orgId: string = pair.orgId): Promise<void> => {
    await database.raw('insert into deliveries (workspace_id, org_id) values (?, ?) on conflict do nothing', [workspaceId ?? '', orgId]);
    await database.raw('insert into workspace_items (item_id, workspace_id, via, org_id) values (?, ?, ?, ?)', [itemId, workspaceId ?? '', via, orgId]);
  };
  const due = async (): Promise<unknown[]> => await rowsOf('select workspace_id, lane from pending order by workspace_id');

  test('C12: every workspace of the org that names or holds the item is due, and no other', async () => {
    await hold(mine, 'named');
    await hold(workspaces[2], 'held');
    await hold(other, 'named', pair.itemId, orgs[1]);
    await apply(purchase());
    expect(await due()).toEqual([{ workspace_id: mine, lane: 1 }, { workspace_id: workspaces[2], lane: 1 }]);
  });

  test('I15: a workspace without a delivery row is not woken', async () => {
    await database.raw('insert into workspace_items (item_id, workspace_id, via, org_id) values (?, ?, ?, ?)', [pair.itemId, mine ?? '', 'named', pair.orgId]);
    await apply(purchase());
    expect(await due()).toEqual([]);
  });

  test('an event that changes nothing wakes nobody', async () => {
    await apply(purchase());
    await hold(mine, 'named');
    await apply(purchase());
    expect(await due()).toEqual([]);
  });

  test('C13: fraud and malware overtake what waits, a refund does not', async () => {
    await hold(mine, 'held');
    await hold(other, 'held', items[1]);
    await apply(revoke({ reason: 'fraud' }), revoke({ item_id: items[1] ?? expect.fail(), reason: 'refund' }));
    expect(await due()).toEqual([{ workspace_id: mine, lane: 0 }, { workspace_id: other, lane: 1 }]);
  });

  test.each([0, 1])('C13: who holds both what was refunded and what is malware is urgent, whichever of them comes first (%i)', async (first) => {
    await hold(mine, 'held');
    await hold(mine, 'held', items[1]);
    await hold(other, 'held', items[1]);
    const both = [revoke({ reason: 'malware' }), revoke({ item_id: items[1] ?? expect.fail(), reason: 'refund' })];
    await apply(...(first === 0 ? both : both.toReversed()));
    expect(await due()).toEqual([{ workspace_id: mine, lane: 0 }, { workspace_id: other, lane: 1 }]);
  });

  test('more than 1,000 of them are woken in pages, each once and none of another org', async () => {
    await database.raw('truncate fanouts');
    await hold(other, 'named', pair.itemId, orgs[1]);
    await database.raw(`insert into deliveries (workspace_id, org_id) select gen_random_uuid(), ? from generate_series(1, 1001)`, [pair.orgId]);
    await database.raw(`insert into workspace_items (item_id, workspace_id, via, org_id) select ?, workspace_id, 'held', org_id from deliveries where org_id = ?`, [pair.itemId, pair.orgId]);
    await apply(revoke({ reason: 'malware' }));
    expect(await due()).toEqual([]);
    let pages = 0;
    while (await wakeNextPage(database)) pages += 1;
    expect(pages).toBe(3);
    expect(await rowsOf('select count(*)::integer as woken, min(lane) as lane, max(lane) as last from pending')).toEqual([{ woken: 1001, lane: 0, last: 0 }]);
  });

  test('C12: a fold waits for whoever reads the pair, and what reads after it sees the new lines', async () => {
    const reader = await database.transaction();
    await lockOrgItems(reader, [{ org_id: pair.orgId, item_id: pair.itemId }], 'shared');
    const fold = apply(purchase());
    await expect.poll(async () => await rowsOf(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`), { timeout: 5_000, interval: 10 }).toHaveLength(1);
    expect((await loadLines(reader, [pair])).length).toBe(0);
    await reader.commit();
    await fold;
    expect((await tx(database, async (trx) => await loadLines(trx, [pair]))).length).toBe(1);
  });
});
