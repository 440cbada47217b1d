import { ensureSchema, type Database } from '../process/database.ts';
import { migrate, type MigrationSet } from '../process/migrate.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command } from './command.ts';
import { readSettings } from './settings.ts';

interface Migrated {
  readonly database: 'waybill' | 'control-plane' | 'billing';
  readonly schema: string;
  readonly applied: readonly string[];
}

const sets: Readonly<Record<Migrated['database'], readonly MigrationSet[]>> = {
  waybill: ['outbox', 'waybill'],
  'control-plane': ['outbox', 'control-plane'],
  billing: ['outbox', 'billing'],
};

/** Brings one database to the newest version of its tables, its schema made first. */
export async function migrateDatabase(own: Database, database: Migrated['database'], schema: string): Promise<Migrated> {
  await ensureSchema(own, schema);
  return { database, schema, applied: await migrate(own, sets[database]) };
}

export const migrateCommand = command({
  usage: 'migrate',
  summary: 'Bring a database to the newest version of its tables',
  examples: [
    ['migrate', 'the database of the pipeline'],
    ['migrate --database billing', "the tables that billing's producer library needs, in billing's own database"],
  ],
  options: (yargs) => yargs.option('database', {
    choices: ['waybill', 'control-plane', 'billing'] as const, default: 'waybill' as const,
    describe: "The pipeline's database, or that of a producer",
  }),
  run: async ({ database }, { output }) => {
    const config = databaseOf(database);
    await using own = wireDatabase(config, 'migrate', 2);
    const migrated = await migrateDatabase(own, database, config.databaseSchema);
    output.result(migrated, ({ applied }) => (applied.length === 0 ? 'up to date' : applied.map((name) => `applied ${name}`).join('\n')));
  },
});

/** Where the tables of each owner are. */
export function databaseOf(owner: Migrated['database']): { databaseUrl: string; databaseSchema: string } {
  switch (owner) {
    case 'waybill':
      return readSettings(settingsOf.database);
    case 'control-plane': {
      const { controlPlaneDatabaseUrl, controlPlaneDatabaseSchema } = readSettings(['controlPlaneDatabaseUrl', 'controlPlaneDatabaseSchema']);
      return { databaseUrl: controlPlaneDatabaseUrl, databaseSchema: controlPlaneDatabaseSchema };
    }
    case 'billing': {
      const { billingDatabaseUrl, billingDatabaseSchema } = readSettings(['billingDatabaseUrl', 'billingDatabaseSchema']);
      return { databaseUrl: billingDatabaseUrl, databaseSchema: billingDatabaseSchema };
    }
  }
}
