import knex, { type Knex } from 'knex';
import pg from 'pg';

import { Failure } from './failure.ts';

export type Database = Knex;
export type Transaction = Knex.Transaction;

/** SQLSTATE classes and codes that say the server or the way to it is unwell, not our statement. */
const unwell = /^(?:08|57P0|53|25006|58|40001|40P01|55P03|57014|25P03)/u;
/** bigint as number; everything else as pg reads it. */
const types = new pg.TypeOverrides();
types.setTypeParser(pg.types.builtins.INT8, Number);

const network = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EHOSTUNREACH', 'EAI_AGAIN', 'ENETUNREACH', 'ECONNABORTED']);

/** Longest that a transaction may wait for its own process, in milliseconds: one that froze holds no lock for ever (I18). */
const idleInTransactionMs = 30_000;

/**
 * A pool on one database. `schema` puts one schema on the search path, so that in `dev` the control plane, billing and
 * waybill share a database. bigint columns read as numbers: every one of them is bounded by 2^53 where it is written.
 */
export function openDatabase(url: string, options: { schema?: string; poolMax?: number; name?: string; idleInTransactionMs?: number } = {}): Database {
  return knex({
    client: 'pg',
    connection: {
      connectionString: url,
      application_name: options.name ?? 'waybill',
      idle_in_transaction_session_timeout: options.idleInTransactionMs ?? idleInTransactionMs,
      types: types as Knex.PgCustomTypesConfig, // the two type packages name the oid differently
    },
    pool: {
      min: 0,
      max: options.poolMax ?? 10,
      afterCreate: (client: pg.Client, done: (error: Error | null, client: pg.Client) => void) => {
        // A checked-out client whose backend dies ends the process unless somebody listens.
        client.on('error', () => undefined);
        if (options.schema === undefined) done(null, client);
        else client.query(`set search_path to "${options.schema.replaceAll('"', '""')}"`, (error) => { done(error, client); });
      },
    },
    acquireConnectionTimeout: 10_000,
    // knex writes to standard output what it throws anyway; there, the results of commands stand alone.
    log: { warn: silent, error: silent, deprecate: silent, debug: silent },
  });
}

const silent = (): void => undefined;

/** Makes the schema if it is not there, whoever else does so at the same time. */
export async function ensureSchema(database: Database, schema: string): Promise<void> {
  try {
    await tx(database, async (trx) => {
      // `if not exists` alone lets two makers collide.
      await trx.raw('select pg_advisory_xact_lock(hashtextextended(?, 0))', [`schema:${schema}`]);
      await trx.raw('create schema if not exists ??', [schema]);
    });
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

/** Runs `work` in one transaction. A lost connection or an unwell server is a Failure of kind dependency (UNAVAILABLE). */
export async function tx<T>(database: Database, work: (trx: Transaction) => Promise<T>): Promise<T> {
  try {
    return await database.transaction(work);
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

/** A transaction that reaches into every tenant; only where the work is not one tenant's. */
export const everyTenant = '*';

/**
 * As `tx`, for one tenant, named by its org id. Under row-level security a login of a restricted role sees and writes the
 * rows of that tenant alone, so a forgotten `where org_id` leaks nothing; outside of such a transaction it sees none. Other
 * logins are not restricted. The setting ends with the transaction: the next user of the connection does not inherit it.
 */
export async function tenantTx<T>(database: Database, tenant: string, work: (trx: Transaction) => Promise<T>): Promise<T> {
  return await tx(database, async (trx) => {
    await trx.raw(`select set_config('waybill.tenant', ?, true)`, [tenant]);
    return await work(trx);
  });
}

/** As `tenantTx`, for several reads of one moment; it cannot write. */
export async function tenantSnapshot<T>(database: Database, tenant: string, read: (trx: Transaction) => Promise<T>): Promise<T> {
  return await tx(database, async (trx) => {
    // Before any query, or PostgreSQL refuses it.
    await trx.raw('set transaction isolation level repeatable read, read only');
    await trx.raw(`select set_config('waybill.tenant', ?, true)`, [tenant]);
    return await read(trx);
  });
}

/** What the driver threw, told apart: the server or the way to it (dependency), or our statement (as it was). */
export function asDatabaseFailure(error: unknown): unknown {
  if (error instanceof Failure || !(error instanceof Error)) return error;
  const code = 'code' in error ? String(error.code) : '';
  const lost = /Connection terminated|timeout acquiring|Timeout acquiring|not queryable/u.test(error.message);
  if (unwell.test(code) || network.has(code) || lost) {
    return new Failure('dependency', 'UNAVAILABLE', `PostgreSQL: ${error.message}`, { cause: error });
  }
  if (code === '42501') {
    return new Failure('input', 'CONFIG_INVALID', `PostgreSQL refuses this login: ${error.message}. Its database role is for other work (docs/guides/database-roles.md)`, { cause: error });
  }
  return error;
}
