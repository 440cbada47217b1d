import { afterAll, beforeAll, expect, test } from 'vitest';

import { tx } from '../../process/database.ts';
import { lockItems } from '../../process/locks.ts';
import { createTestDatabase, type TestDatabase } from '../support/pipeline.ts';

let context: TestDatabase;
beforeAll(async () => { context = await createTestDatabase(); });
afterAll(async () => { await context.drop(); });

test('locks are taken in one order whatever the order of their names: whoever waits for the first holds none of the others', async () => {
  const { database } = context;
  const names = Array.from({ length: 60 }, (_, n) => `item-${n}`);
  const { rows: sorted } = await database.raw<{ rows: { name: string }[] }>(
    `select name from unnest(?::text[]) name order by hashtextextended('item:' || name, 0)`, [names],
  );
  const first = sorted[0]?.name ?? expect.fail();
  const waiterOf = async (): Promise<{ granted: boolean; count: number }[]> => (await database.raw<{ rows: { granted: boolean; count: number }[] }>(
    `select granted, count(*)::integer as count from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
       and pid in (select pid from pg_locks where locktype = 'advisory' and not granted) group by granted order by granted`,
  )).rows;
  for (const asked of [names, names.toReversed(), sorted.map(({ name }) => name).toReversed()]) {
    let waiting: Promise<void> | undefined;
    await tx(database, async (trx) => {
      await lockItems(trx, [first], 'exclusive');
      waiting = tx(database, async (other) => { await lockItems(other, asked, 'exclusive'); });
      await expect.poll(waiterOf, { timeout: 10_000, interval: 10 }).toEqual([{ granted: false, count: 1 }]);
    });
    await waiting;
  }
});
