import { tx, type Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import type { RawRow } from './import-rows.ts';

const timeoutMs = 120_000;

/** The rows of a query of the operator's on the control plane's database, which may read and nothing else; lines count from 1. */
export async function readQuery(controlPlane: Database, query: string): Promise<RawRow[]> {
  return await tx(controlPlane, async (trx) => {
    await trx.raw('set transaction read only');
    await trx.raw(`set local statement_timeout = ${timeoutMs}`);
    try {
      // As it is written: a question mark is no binding of ours.
      const { rows } = await trx.raw<{ rows: Record<string, unknown>[] }>(query.replaceAll('?', String.raw`\?`));
      return rows.map((fields, index) => ({ line: index + 1, fields }));
    } catch (error) {
      throw new Failure('input', 'FIELD_INVALID', `The query is refused: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  });
}
