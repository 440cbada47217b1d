import { afterAll, beforeAll, expect, test } from 'vitest';

import { openDatabase, tx, type Database } from '../../process/database.ts';
import { isolate, type Isolated } from '../support/isolated.ts';

let isolated: Isolated;
let database: Database;
beforeAll(async () => {
  isolated = await isolate();
  database = openDatabase(isolated.databaseUrl);
  await database.raw('create table rows (id integer primary key)');
  await database.raw('insert into rows values (1)');
});
afterAll(async () => {
  await database.destroy();
  await isolated.drop();
});

const lock = 'select 1 from rows where id = 1 for update';

test('I18: a process that froze in the middle of a transaction loses it, and its locks are free for others', async () => {
  const frozen = openDatabase(isolated.databaseUrl, { idleInTransactionMs: 200 });
  try {
    const isLocked = Promise.withResolvers<undefined>();
    const thaws = Promise.withResolvers<undefined>();
    const late = tx(frozen, async (trx) => {
      await trx.raw(lock);
      isLocked.resolve(undefined);
      await thaws.promise;
      await trx.raw('update rows set id = 2');
    });
    await isLocked.promise;
    await tx(database, async (trx) => {
      await trx.raw(`set local lock_timeout = '10s'`);
      await trx.raw(lock);
    });
    thaws.resolve(undefined);
    await expect(late).rejects.toMatchObject({ kind: 'dependency', code: 'UNAVAILABLE' });
    expect(await database('rows').select('id')).toEqual([{ id: 1 }]);
    // The pool goes on with another connection.
    await tx(frozen, async (trx) => { await trx.raw(lock); });
  } finally {
    await frozen.destroy();
  }
});

test('I18: every pool has that bound', async () => {
  const { rows } = await database.raw<{ rows: unknown[] }>(`select current_setting('idle_in_transaction_session_timeout') as bound`);
  expect(rows).toEqual([{ bound: '30s' }]);
});
