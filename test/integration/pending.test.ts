import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { openDatabase, tx, type Database } from '../../process/database.ts';
import { migrate } from '../../process/migrate.ts';
import { claim, deferClaim, readClaim, renewClaim, settleClaim, wake, type Lane } from '../../process/pending.ts';
import { isolate, type Isolated } from '../support/isolated.ts';

let isolated: Isolated;
let database: Database;
beforeAll(async () => {
  isolated = await isolate();
  database = openDatabase(isolated.databaseUrl);
  await migrate(database, ['outbox', 'waybill']);
});
afterAll(async () => {
  await database.destroy();
  await isolated.drop();
});
afterEach(async () => { await database.raw('truncate pending, deliveries'); });

/** Workspaces with a delivery row, woken. */
async function due(count: number, lane: Lane = 'live'): Promise<string[]> {
  const ids = Array.from({ length: count }, () => randomUUID());
  await database.raw('insert into deliveries (workspace_id, org_id) select id, gen_random_uuid() from unnest(?::uuid[]) id', [ids]);
  await tx(database, async (trx) => { await wake(trx, ids, lane); });
  return ids;
}

const rowOf = async (workspaceId: string) => await database<{ workspace_id: string; n: number; at: Date; tries: number; attempt: number }>('pending')
  .where({ workspace_id: workspaceId }).first();

describe('claiming', () => {
  test('takes no more than was asked, whatever the statistics say', async () => {
    await due(1);
    await database.raw('analyze pending');
    await due(9);
    expect(await claim(database, 1, 60_000)).toHaveLength(1);
    expect(await claim(database, 4, 60_000)).toHaveLength(4);
    expect(await claim(database, 100, 60_000)).toHaveLength(5);
    expect(await claim(database, 100, 60_000)).toEqual([]);
  });

  test('C13: takes the urgent lane first, and nothing else where only that is asked for', async () => {
    await due(3);
    const [urgent] = await due(1, 'urgent');
    expect((await claim(database, 9, 60_000, { lanes: ['urgent'] })).map((one) => one.workspaceId)).toEqual([urgent]);
    await database.raw(`update pending set lease_until = '-infinity'`);
    expect((await claim(database, 1, 60_000)).map((one) => one.workspaceId)).toEqual([urgent]);
  });

  test('I24: gives every claim a number of its own, and a lease that ran out to somebody else', async () => {
    const [workspaceId = ''] = await due(1);
    const [first] = await claim(database, 1, 0);
    const [second] = await claim(database, 1, 60_000);
    expect(second?.attempt).toBeGreaterThan(first?.attempt ?? Infinity);
    await tx(database, async (trx) => {
      expect(await readClaim(trx, workspaceId, first?.attempt ?? 0)).toBeUndefined();
      await settleClaim(trx, workspaceId, first?.attempt ?? 0, first?.n ?? 0);
    });
    expect(await rowOf(workspaceId)).toMatchObject({ attempt: second?.attempt });
  });

  test('is kept by renewing it, and not by renewing a claim that was lost', async () => {
    const [workspaceId = ''] = await due(1);
    const [first] = await claim(database, 1, 0);
    await renewClaim(database, { workspaceId, attempt: first?.attempt ?? 0 }, 60_000);
    expect(await claim(database, 1, 60_000)).toEqual([]);
    await renewClaim(database, { workspaceId, attempt: first?.attempt ?? 0 }, 0);
    const [second] = await claim(database, 1, 0);
    await renewClaim(database, { workspaceId, attempt: first?.attempt ?? 0 }, 60_000);
    expect((await claim(database, 1, 60_000)).map((one) => one.attempt)).not.toEqual([second?.attempt]);
  });
});

describe('a wake (C12)', () => {
  test('that comes while an attempt runs outlives its end, and is not made to wait by its failure', async () => {
    const [workspaceId = ''] = await due(1);
    const [held] = await claim(database, 1, 60_000);
    if (held === undefined) throw new Error('nothing was due');
    await tx(database, async (trx) => { await wake(trx, [workspaceId]); });
    await tx(database, async (trx) => { await settleClaim(trx, workspaceId, held.attempt, held.n); });
    const [again] = await claim(database, 1, 60_000);
    expect(again?.workspaceId).toBe(workspaceId);
    if (again === undefined) throw new Error('the wake was lost');
    await tx(database, async (trx) => { await wake(trx, [workspaceId]); });
    await tx(database, async (trx) => { await deferClaim(trx, again, 3_600_000, true); });
    expect(await claim(database, 1, 60_000)).toMatchObject([{ workspaceId, tries: 1 }]);
  });

  test('makes due at once what waits for its backoff', async () => {
    const [workspaceId = ''] = await due(1);
    const [held] = await claim(database, 1, 60_000);
    if (held === undefined) throw new Error('nothing was due');
    await tx(database, async (trx) => { await deferClaim(trx, held, 900_000, true); });
    expect(await claim(database, 1, 60_000)).toEqual([]);
    await tx(database, async (trx) => { await wake(trx, [workspaceId]); });
    expect(await claim(database, 1, 60_000)).toMatchObject([{ workspaceId }]);
  });

  test('C6: of a workspace that never had anything to deliver leaves no row', async () => {
    const workspaceId = randomUUID();
    await tx(database, async (trx) => { await wake(trx, [workspaceId]); });
    expect(await rowOf(workspaceId)).toBeUndefined();
  });
});
