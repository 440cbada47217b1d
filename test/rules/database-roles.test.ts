import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { tableRights } from '../../migrations/database-roles.ts';

test('every table of the pipeline says which database roles may do what with it', () => {
  const tables = new Set(['outbox', 'waybill'].flatMap((set) => {
    const folder = join(import.meta.dirname, '../../migrations', set);
    return readdirSync(folder).filter((file) => file.endsWith('.up.sql')).toSorted().flatMap((file) => {
      const sql = readFileSync(join(folder, file), 'utf8');
      return [...sql.matchAll(/^create table (?:if not exists )?(?<name>\w+)/gimu)].map((match) => match.groups?.['name'] ?? '');
    });
  }));
  expect([...tables].filter((table) => !(table in tableRights)), 'Add a row to migrations/database-roles.ts: whose its rows are, and who may do what').toEqual([]);
  expect(Object.keys(tableRights).filter((table) => !tables.has(table)), 'Take the row out of migrations/database-roles.ts').toEqual([]);
});
