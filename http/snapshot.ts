import { tx, type Database, type Transaction } from '../process/database.ts';

/** Reads several things as they were at one moment, and writes nothing. */
export async function inSnapshot<T>(database: Database, read: (trx: Transaction) => Promise<T>): Promise<T> {
  return await tx(database, async (trx) => {
    await trx.raw('set transaction isolation level repeatable read, read only');
    return await read(trx);
  });
}
