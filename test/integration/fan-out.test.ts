import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { setChannel } from '../../catalogue/releases.ts';
import { startRollout } from '../../catalogue/rollouts.ts';
import { defaultTerms, isInside } from '../../catalogue/rollout.ts';
import { wakeNextPage } from '../../delivery/fan-out.ts';
import { sweepPage } from '../../delivery/sweep.ts';
import { openDatabase, tx, type Database } from '../../process/database.ts';
import { migrate } from '../../process/migrate.ts';
import { claim, lanes, settleClaim, wake } from '../../process/pending.ts';
import { parseChannel, parseItemId, parseVersion } from '../../schemas/ids.ts';
import { insertFollowers, insertItem } from '../support/followers.ts';
import { isolate, type Isolated } from '../support/isolated.ts';

/** A catalogue write that concerns thousands of workspaces: what it holds, and whom it holds up. */
const followers = 5_000;
/** In one transaction (delivery/fan-out.ts). */
const pageMax = 500;
/** Longest that one transaction may take here, in milliseconds: some 15 are usual, and the machine may be busy. */
const transactionMsMax = 1_000;

let isolated: Isolated;
let database: Database;
beforeAll(async () => {
  isolated = await isolate();
  database = openDatabase(isolated.databaseUrl, { poolMax: 6 });
  await migrate(database, ['outbox', 'waybill']);
});
afterAll(async () => {
  await database.destroy();
  await isolated.drop();
});

let made = 0;
/** An item of this test alone, with workspaces that run with it; nothing is pending. */
async function makeItem(): Promise<string> {
  await database.raw('truncate pending, fanouts');
  const item = `item-${randomUUID().slice(0, 8)}`;
  await insertItem(database, item);
  made += 1;
  await insertFollowers(database, item, followers, String(made).padStart(8, '0'));
  return item;
}

const nameOf = (item: string) => ({ itemId: parseItemId(item), channel: parseChannel('stable'), version: parseVersion('2.0.0'), reason: 'a test' });
const countPending = async (): Promise<number> => Number((await database.raw<{ rows: { count: number }[] }>('select count(*) from pending')).rows[0]?.count);

/** How long it took, in milliseconds. */
async function timed<T>(run: () => Promise<T>): Promise<{ took: number; result: T }> {
  const began = performance.now();
  const result = await run();
  return { took: performance.now() - began, result };
}

describe('a channel move that concerns thousands of workspaces (B3)', () => {
  test('holds no long transaction: it wakes them in pages, each workspace once', async () => {
    const item = await makeItem();
    const moved = await timed(async () => await setChannel(database, nameOf(item)));
    expect(await countPending()).toBe(0);
    const pages: { took: number; woken: number }[] = [];
    for (let before = 0; ;) {
      const { took, result } = await timed(async () => await wakeNextPage(database));
      if (!result) break;
      const now = await countPending();
      pages.push({ took, woken: now - before });
      before = now;
    }
    expect(pages.map(({ woken }) => woken)).toEqual([...Array.from({ length: followers / pageMax }, () => pageMax), 0]);
    expect(Math.max(moved.took, ...pages.map(({ took }) => took))).toBeLessThan(transactionMsMax);
  });

  test('starves nobody: what is live is claimed first, however many wait behind it', async () => {
    const item = await makeItem();
    await setChannel(database, nameOf(item));
    const live = Array.from({ length: 10 }, (_, n) => `ffffffff-0000-4000-8000-${String(made * 100 + n).padStart(12, '0')}`);
    await database.raw('insert into deliveries (workspace_id, org_id) select w, gen_random_uuid() from unnest(?::uuid[]) w', [live]);
    const waking = (async () => { while (await wakeNextPage(database)); })();
    for (const workspaceId of live) {
      // Two workers are at the backlog; a workspace of somebody else boots.
      await claim(database, 8, 60_000);
      await tx(database, async (trx) => { await wake(trx, [workspaceId]); });
      const { took, result: [claimed] } = await timed(async () => await claim(database, 1, 60_000));
      expect(claimed?.workspaceId).toBe(workspaceId);
      expect(took).toBeLessThan(transactionMsMax);
      if (claimed !== undefined) await tx(database, async (trx) => { await settleClaim(trx, workspaceId, claimed.attempt, claimed.n); });
    }
    await waking;
    const { rows } = await database.raw<{ rows: { lane: number }[] }>('select distinct lane from pending');
    expect(rows).toEqual([{ lane: lanes.backfill }]);
  });

  test('lets who boots now go before who runs, and is overtaken by what they do meanwhile', async () => {
    const item = await makeItem();
    const { rows: [some] } = await database.raw<{ rows: { workspace_id: string }[] }>(
      `update workspace_records set status = 'provisioning' where workspace_id = (select workspace_id from workspace_items where item_id = ? order by workspace_id desc limit 1) returning workspace_id`, [item],
    );
    await setChannel(database, nameOf(item));
    while (await wakeNextPage(database));
    const [first, second] = [await claim(database, 1, 60_000), await claim(database, 1, 60_000)];
    expect(first[0]?.workspaceId).toBe(some?.workspace_id);
    // One of the others boots: a live wake lifts its row.
    const { rows: [other] } = await database.raw<{ rows: { workspace_id: string }[] }>('select workspace_id from pending where attempt is null order by workspace_id desc limit 1');
    await tx(database, async (trx) => { await wake(trx, [other?.workspace_id ?? '']); });
    expect((await claim(database, 1, 60_000))[0]?.workspaceId).toBe(other?.workspace_id);
    expect(second[0]?.workspaceId).not.toBe(other?.workspace_id);
  });

  test('C12: is no lost wake while its pages are still to come; afterwards one is', async () => {
    const item = await makeItem();
    const first = `${String(made).padStart(8, '0')}-0000-0000-0000-000000000000`;
    const sweep = async () => await sweepPage(database, first, { thirdPartySellers: false, leaseMs: 1 });
    expect(await sweep()).toMatchObject({ checked: 100, found: [] });
    await setChannel(database, nameOf(item));
    expect(await sweep()).toMatchObject({ checked: 100, found: [] });
    while (await wakeNextPage(database));
    await database.raw('delete from pending where workspace_id = (select min(workspace_id::text)::uuid from pending)');
    expect((await sweep()).found).toHaveLength(1);
  });
});

test('a step of a rollout wakes the workspaces that it adds and no others, in pages (B3)', async () => {
  const item = await makeItem();
  const rollout = await startRollout(database, { ...nameOf(item), seed: randomUUID(), ...defaultTerms, steps: [200, 10_000] });
  let pages = 0;
  for (let before = 0; ; pages += 1) {
    const { took, result } = await timed(async () => await wakeNextPage(database));
    if (!result) break;
    const now = await countPending();
    expect(now - before).toBeLessThanOrEqual(pageMax);
    expect(took).toBeLessThan(transactionMsMax);
    before = now;
  }
  expect(pages).toBe(2);
  const { rows } = await database.raw<{ rows: { workspace_id: string; pending: boolean }[] }>(
    `select workspace_id, p.n is not null as pending from workspace_items left join pending p using (workspace_id) where item_id = ? and via = 'named'`, [item],
  );
  const seed = rollout?.seed ?? '';
  expect(rows.filter(({ workspace_id: id, pending }) => pending !== isInside({ seed, share: 200 }, id))).toEqual([]);
  expect(rows.filter(({ pending }) => pending).length).toBeGreaterThan(followers / 100);
});
