import { applyDatabaseRoles, hasDatabaseRoles } from '../migrations/database-roles.ts';
import { ensureSchema, type Database } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { migrate, type MigrationSet } from '../process/migrate.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command } from './command.ts';
import { readSettings } from './settings.ts';

interface Migrated {
  readonly database: 'waybill' | 'control-plane' | 'billing';
  readonly schema: string;
  readonly applied: readonly string[];
  /** Roles whose rights are now those of the table; none: the database has not been given any. */
  readonly roles: readonly string[];
}

const sets: Readonly<Record<Migrated['database'], readonly MigrationSet[]>> = {
  waybill: ['outbox', 'waybill'],
  'control-plane': ['outbox', 'control-plane'],
  billing: ['outbox', 'billing'],
};

/** Brings one database to the newest version of its tables, its schema made first. */
export async function migrateDatabase(own: Database, database: Migrated['database'], schema: string, withRoles = false): Promise<Migrated> {
  await ensureSchema(own, schema);
  const applied = await migrate(own, sets[database]);
  // Once given, roles get their rights on new tables too, or the processes that run as them would stop at those.
  const givesRoles = database === 'waybill' && (withRoles || await hasDatabaseRoles(own));
  return { database, schema, applied, roles: givesRoles ? await applyDatabaseRoles(own) : [] };
}

export const migrateCommand = command({
  usage: 'migrate',
  summary: 'Bring a database to the newest version of its tables',
  examples: [
    ['migrate', 'the database of the pipeline'],
    ['migrate --roles', 'and a database role for each kind of process, with row-level security'],
    ['migrate --database billing', "the tables that billing's producer library needs, in billing's own database"],
  ],
  options: (yargs) => yargs.option('database', {
    choices: ['waybill', 'control-plane', 'billing'] as const, default: 'waybill' as const,
    describe: "The pipeline's database, or that of a producer",
  }).option('roles', {
    type: 'boolean', default: false, describe: 'Also make the roles of the database, with their rights and row-level security; needs a login that may create roles',
  }),
  run: async ({ database, roles }, { output }) => {
    if (roles && database !== 'waybill') throw new Failure('input', 'USAGE', '--roles is for the database of the pipeline');
    const config = databaseOf(database);
    await using own = wireDatabase(config, 'migrate', 2);
    const migrated = await migrateDatabase(own, database, config.databaseSchema, roles);
    output.result(migrated, ({ applied, roles: given }) => [
      ...(applied.length === 0 ? ['up to date'] : applied.map((name) => `applied ${name}`)),
      ...(given.length === 0 ? [] : [`roles: ${given.join(', ')}`]),
    ].join('\n'));
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
