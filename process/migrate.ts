import { readdirSync, readFileSync } from 'node:fs';

import type { Database } from './database.ts';

/** A set of migrations: a folder under migrations/. `outbox` is part of every database that publishes. */
export type MigrationSet = 'outbox' | 'control-plane' | 'billing' | 'waybill';

interface SqlMigration {
  name: string;
  up: string;
  down: string;
}

const folder = new URL('../migrations/', import.meta.url);

function readSet(set: MigrationSet): SqlMigration[] {
  const files = readdirSync(new URL(`${set}/`, folder)).filter((file) => file.endsWith('.up.sql')).toSorted();
  const read = (file: string): string => readFileSync(new URL(`${set}/${file}`, folder), 'utf8');
  return files.map((file) => ({
    name: `${set}/${file.replace('.up.sql', '')}`,
    up: read(file),
    down: read(file.replace('.up.sql', '.down.sql')),
  }));
}

function configOf(sets: readonly MigrationSet[]) {
  const all = sets.flatMap(readSet);
  return {
    tableName: 'waybill_migrations',
    // One database may have got another set before this one, or a newer version of it.
    disableMigrationsListValidation: true,
    migrationSource: {
      getMigrations: async () => all,
      getMigrationName: (migration: SqlMigration) => migration.name,
      getMigration: async (migration: SqlMigration) => ({
        up: async (trx: Database) => { await trx.raw(escaped(migration.up)); },
        down: async (trx: Database) => { await trx.raw(escaped(migration.down)); },
      }),
    },
  };
}

/** knex reads `?` as a binding; our SQL has none. */
const escaped = (sql: string): string => sql.replaceAll('?', String.raw`\?`);

/**
 * Brings a database to the newest version of `sets`, each migration in a transaction of its own; safe to run from
 * several processes at once. Returns the names that ran, none when it was up to date.
 */
export async function migrate(database: Database, sets: readonly MigrationSet[]): Promise<string[]> {
  const [, names] = (await database.migrate.latest(configOf(sets))) as [number, string[]]; // knex types it as any
  return names;
}

/** Takes back everything that `migrate` with the same sets brought, newest first. */
export async function rollback(database: Database, sets: readonly MigrationSet[]): Promise<string[]> {
  const [, names] = (await database.migrate.rollback(configOf(sets), true)) as [number, string[]]; // knex types it as any
  return names;
}
