import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';

import type { Database } from '../../process/database.ts';
import { arrayOf, jsonLinesOf } from '../../process/sql-columns.ts';
import { createTestDatabase, type TestDatabase } from '../support/pipeline.ts';

let context: TestDatabase;
let database: Database;
beforeAll(async () => {
  context = await createTestDatabase();
  database = context.database;
});
afterAll(async () => { await context.drop(); });

const text = fc.oneof(
  fc.constantFrom('', 'null', 'NULL', '{}', '"', '\\', '\\"', ',', ' ', '\n', 'a,b', '{a', 'ü', '\u{1F4E6}', '\u00A0', '\u2028'),
  fc.string({ unit: 'binary' }).filter((value) => value.isWellFormed() && !value.includes('\0')),
);

test('PostgreSQL reads back every column of text, whatever is in it', async () => {
  await fc.assert(fc.asyncProperty(fc.array(fc.option(text)), async (column) => {
    const { rows: [row] } = await database.raw<{ rows: [{ read: (string | null)[] }] }>('select ?::text[] as read', [arrayOf(column)]);
    expect(row.read).toEqual(column);
  }), { numRuns: 100 });
});

test('PostgreSQL reads back every column of numbers and truth values', async () => {
  const { rows } = await database.raw<{ rows: unknown[] }>('select ?::bigint[] = array[1, null, 9007199254740990] as numbers, ?::boolean[] = array[true, false, null] as truths', [
    arrayOf([1, null, 9_007_199_254_740_990]), arrayOf([true, false, null]),
  ]);
  expect(rows).toEqual([{ numbers: true, truths: true }]);
});

test('PostgreSQL reads back every column of JSON', async () => {
  await fc.assert(fc.asyncProperty(fc.array(fc.record({ text, number: fc.integer() }), { minLength: 1 }), async (column) => {
    const { rows } = await database.raw<{ rows: { value: unknown }[] }>(`select value from unnest(string_to_array(?, E'\\n')::json[]) as value`, [jsonLinesOf(column)]);
    expect(rows.map(({ value }) => value)).toEqual(column);
  }), { numRuns: 100 });
});
