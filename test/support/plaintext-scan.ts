import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Database } from '../../process/database.ts';

/** Every spelling under which a marked text would leak: as it is, hex, base64 at each of its three offsets, UTF-16. */
export function spellingsOf(mark: string): ReadonlyMap<string, Buffer> {
  const bytes = Buffer.from(mark);
  const base64 = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64').replaceAll('=', '');
    // The first and last characters depend on what stands around.
    return ['base64', text.slice(offset === 0 ? 0 : 4, -4)] as const;
  });
  return new Map([
    ['text', bytes],
    ['hex', Buffer.from(bytes.toString('hex'))],
    ['HEX', Buffer.from(bytes.toString('hex').toUpperCase())],
    ['UTF-16', Buffer.from(mark, 'utf16le')],
    ...base64.flatMap(([name, text], offset) => [
      [`${name} at ${offset}`, Buffer.from(text)] as const,
      [`base64url at ${offset}`, Buffer.from(text.replaceAll('+', '-').replaceAll('/', '_'))] as const,
    ]),
  ]);
}

/** The same as a dump shows them: a bytea is in hex there, whatever is in it. */
export const spellingsInDump = (spellings: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Buffer> =>
  new Map([...spellings].flatMap(([name, spelling]) => [[name, spelling] as const, [`bytea of ${name}`, Buffer.from(spelling.toString('hex'))] as const]));

/** Something to search, and where it lies. */
export type Place = readonly [where: string, bytes: Buffer];

/** `where: spelling` for each hit. */
export function hitsIn(places: Iterable<Place>, spellings: ReadonlyMap<string, Buffer>): string[] {
  return [...places].flatMap(([where, bytes]) => [...spellings].filter(([, spelling]) => bytes.includes(spelling)).map(([name]) => `${where}: ${name}`));
}

/** Every file below a folder, those of waybill itself too; `except` leaves whole folders out. */
export function* filesBelow(folder: string, except: (path: string) => boolean): Generator<Place> {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (except(path)) continue;
    yield [`name ${path}`, Buffer.from(name)];
    const stat = lstatSync(path);
    if (stat.isDirectory()) yield* filesBelow(path, except);
    else if (stat.isFile()) yield [path, readFileSync(path)];
  }
}

/** Every row of every table, as PostgreSQL dumps it. */
export async function rowsOfAllTables(database: Database): Promise<Place[]> {
  const { rows: tables } = await database.raw<{ rows: { name: string }[] }>(`select quote_ident(tablename) as name from pg_tables where schemaname = 'public'`);
  const places: Place[] = [];
  for (const { name } of tables) {
    const { rows } = await database.raw<{ rows: { row: string }[] }>(`select t::text as row from ${name} t`);
    places.push(...rows.map(({ row }): Place => [`table ${name}`, Buffer.from(row)]));
  }
  return places;
}
