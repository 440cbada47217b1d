import Type from 'typebox';

import { Failure } from '../process/failure.ts';

/** Rows of a page: most, and when nobody says. */
export const rowsMax = 200;
const rowsDefault = 50;

/** What every list takes. */
export const pageQuery = {
  limit: Type.Optional(Type.String({ pattern: '^[0-9]{1,3}$', description: `Rows of a page, 1 to ${rowsMax}; ${rowsDefault} when left out` })),
  cursor: Type.Optional(Type.String({ maxLength: 1_000, description: 'next_cursor of the page before' })),
};

/** The pages of a list whose rows have this form. */
export const pageOf = <Row extends Type.TSchema>(row: Row) =>
  Type.Object({ rows: Type.Array(row), next_cursor: Type.Union([Type.String(), Type.Null()], { description: 'null: this is the last page' }) });

export const nullable = <Of extends Type.TSchema>(of: Of) => Type.Union([of, Type.Null()]);

/** Forms of the columns that lists are in order of. */
export const uuidText = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u;
export const slugText = /^[a-z0-9-]{1,64}$/u;
export const idText = /^[1-9]\d{0,15}$/u;

export interface Page {
  readonly limit: number;
  /** The key of the last row of the page before, as many texts as the list has columns in its order; undefined: from the start. */
  readonly after: readonly string[] | undefined;
}

/** Where a page begins and how long it is. `columns`: of the key by which the list is in order. FIELD_INVALID. */
export function parsePage({ limit, cursor }: { limit?: string | undefined; cursor?: string | undefined }, columns: readonly RegExp[]): Page {
  const rows = limit === undefined ? rowsDefault : Number(limit);
  if (rows < 1 || rows > rowsMax) throw new Failure('input', 'FIELD_INVALID', `limit should be from 1 to ${rowsMax}, but is ${rows}`);
  return { limit: rows, after: cursor === undefined ? undefined : parseCursor(cursor, columns) };
}

function parseCursor(cursor: string, columns: readonly RegExp[]): readonly string[] {
  const parts = Buffer.from(cursor, 'base64url').toString('utf8').split('\n');
  if (parts.length !== columns.length || !columns.every((form, i) => form.test(parts[i] ?? ''))) {
    throw new Failure('input', 'FIELD_INVALID', 'cursor should be the next_cursor of the page before');
  }
  return parts;
}

/** The page of rows that were asked for with one more than its limit: that one says whether there are more. */
export function pageFrom<Row>(rows: readonly Row[], limit: number, keyOf: (row: Row) => readonly string[]): { rows: Row[]; next_cursor: string | null } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const next_cursor = rows.length <= limit || last === undefined ? null : Buffer.from(keyOf(last).join('\n')).toString('base64url');
  return { rows: shown, next_cursor };
}
