import pg from 'pg';

/** A copy of a whole database as it is now, kept by the same server; the database takes its place again when it is restored. */
export interface DatabaseBackup {
  /** The database becomes what it was. Everybody's connections to it end; nobody may connect meanwhile. */
  restore(): Promise<void>;
}

/** Nobody may be connected, or connect meanwhile. */
export async function backUp(databaseUrl: string): Promise<DatabaseBackup> {
  const name = new URL(databaseUrl).pathname.slice(1);
  const copy = `${name}_backup`;
  await asAdministrator(databaseUrl, [`alter database ${name} allow_connections false`, terminate(name), `create database ${copy} template ${name}`, `alter database ${name} allow_connections true`]);
  return {
    restore: async () => { await asAdministrator(databaseUrl, [`drop database ${name} with (force)`, `alter database ${copy} rename to ${name}`]); },
  };
}

const terminate = (name: string): string => `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`;

async function asAdministrator(databaseUrl: string, statements: readonly string[]): Promise<void> {
  const url = new URL(databaseUrl);
  url.pathname = '/postgres';
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
