import type { Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';

/**
 * Reads the one column `r` of the one row of `sql`, JSON as text: whatever type parsers, name mappers or post-processing
 * the caller's knex is set up with, bigints and moments arrive as the numbers that they are. Undefined for no row.
 */
export async function readJson(trx: Transaction, sql: string, bindings: Readonly<Record<string, string | number | null>>): Promise<unknown> {
  const result = await trx.raw<{ rows: { r: string | null }[] }>(sql, bindings);
  const text = result.rows[0]?.r;
  return text === undefined || text === null ? undefined : JSON.parse(text);
}

/** A caller who hands over the pool instead of a transaction would publish what did not commit, or the reverse (A4). */
export function requireTransaction(trx: Transaction): void {
  if (trx.isTransaction !== true) {
    throw new Failure('input', 'FIELD_INVALID', 'trx should be a transaction (knex.transaction), but is a connection pool: change and event have to commit together');
  }
}
