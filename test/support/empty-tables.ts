import { tx, type Database } from '../../process/database.ts';

/** Empties tables between tests, the audit too, whose rows nobody may take away otherwise. */
export async function emptyTables(database: Database, ...tables: readonly string[]): Promise<void> {
  await tx(database, async (trx) => {
    await trx.raw('set local session_replication_role = replica');
    await trx.raw(`truncate ${tables.join(', ')}`);
  });
}
