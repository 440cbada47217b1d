import { tx, type Database, type Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';

/**
 * Who may do what in the pipeline's database: one role (without login) for each kind of process, each with the least it
 * needs. A login is member of the roles of what it runs. `waybill migrate --roles` makes the database so; every new table
 * gets a row here (test/rules/database-roles.test.ts).
 */
export const databaseRoles = {
  http: 'the HTTP door: one tenant at a time; where it answers boxes its login is a member of deliveries too',
  deliveries: 'the role deliveries: one tenant at a time, but for claims and pages of wakes',
  consumers: 'the roles entitlements and workspaces',
  relay: 'the role relay',
  sweeper: 'the roles expiry and sweep',
  rollouts: 'the role rollouts',
  publisher: 'sellers, publishing, releases, channels, baselines',
  runner: 'replay, rebuild, backfill and import',
  chainer: 'the role chainer',
  operator: 'people who look: explain, list, audit verify; writes nothing',
} as const;

export type DatabaseRole = keyof typeof databaseRoles;
export const databaseRoleNames = Object.keys(databaseRoles) as DatabaseRole[]; // the keys of the table above
export const roleName = (role: DatabaseRole): string => `waybill_${role}`;

/** Roles that see the rows of the tenant of their transaction alone (process/database.ts, `tenantTx`). */
const restricted: readonly DatabaseRole[] = ['http', 'deliveries'];

interface TableRights {
  /** Whose a row is: `org`: of its column org_id, null being nobody's. `workspace`: of the org of its workspace. `none`: no tenant's. */
  readonly tenant: 'org' | 'workspace' | 'none';
  /** Restricted roles that see every tenant's rows here, with the reason beside it. */
  readonly everyTenantFor?: readonly DatabaseRole[];
  readonly rights: Partial<Readonly<Record<DatabaseRole, string>>>;
}

/** Every role that decides something leaves a row of it; id, time and transaction are not theirs to say. */
const auditColumns = '(subject_kind, subject_id, org_id, action, outcome, code, detail, caused_by, attempt)';
const appends = `insert ${auditColumns}`;
/** A lock on a row needs the right to update one column of it; this one says least. */
const locks = (column: string): string => `select, update (${column})`;

export const tableRights: Readonly<Record<string, TableRights>> = {
  waybill_outbox: { tenant: 'none', rights: { rollouts: 'insert', http: 'select, insert', deliveries: 'insert', consumers: 'insert', relay: 'select, insert, update', sweeper: 'insert', publisher: 'insert', operator: 'select' } },
  // How far each topic was published: what a database that was set back does not know (I26).
  waybill_outbox_ends: { tenant: 'none', rights: { relay: 'select, insert, update', operator: 'select' } },
  // Asked by everything that mints a version. Where it is closed the relay learns from the topics: hence its many rights.
  minting: { tenant: 'none', rights: { http: 'select', deliveries: 'select', consumers: 'select', relay: 'select, update', sweeper: 'select', rollouts: 'select', publisher: 'select', runner: 'select' } },
  forgotten_items: { tenant: 'none', rights: { relay: 'select, insert, update', rollouts: 'select', publisher: 'select' } },
  // Until when claims wait for the consumers after that.
  catching_up: { tenant: 'none', rights: { relay: 'select, insert, delete', deliveries: 'select', operator: 'select' } },
  dpop_proofs: { tenant: 'none', rights: { http: 'select, insert, update, delete' } },
  runs: { tenant: 'none', rights: { runner: 'select, insert, update', operator: 'select' } },
  run_items: { tenant: 'org', rights: { runner: 'select, insert, update', operator: 'select' } },
  baseline_items: { tenant: 'none', rights: { runner: 'select', deliveries: 'select', sweeper: 'select', publisher: 'select, insert', operator: 'select' } },
  waybill_schema_ids: { tenant: 'none', rights: { consumers: 'select, insert', relay: 'select, insert' } },
  consumer_offsets: { tenant: 'none', rights: { http: 'select', deliveries: 'select', consumers: 'select, insert, update', operator: 'select' } },
  dead_letters: { tenant: 'none', rights: { http: 'select', consumers: 'select, insert, update', operator: 'select' } },
  audit: {
    tenant: 'org',
    rights: { runner: appends, rollouts: appends, http: `select, ${appends}`, deliveries: appends, consumers: appends, sweeper: appends, publisher: appends, chainer: 'select', operator: 'select' },
  },
  audit_links: { tenant: 'none', rights: { chainer: 'select, insert', operator: 'select' } },
  audit_head: { tenant: 'none', rights: { chainer: 'select, update', operator: 'select' } },
  entitlement_lines: { tenant: 'org', rights: { runner: 'select', http: 'select', deliveries: 'select', consumers: 'select, insert, update', sweeper: 'select', operator: 'select' } },
  entitlements: { tenant: 'org', rights: { runner: 'select', rollouts: 'select', http: 'select', deliveries: 'select', consumers: 'select, insert, update', sweeper: 'select, insert, update', operator: 'select' } },
  entitlement_revisions: { tenant: 'org', rights: { http: 'select', relay: 'select, insert, update', consumers: 'select, insert, update', sweeper: 'select, insert, update', operator: 'select' } },
  sellers: { tenant: 'none', rights: { runner: 'select', relay: 'select', rollouts: 'select', http: 'select', deliveries: 'select', consumers: 'select', sweeper: 'select', publisher: 'select, insert', operator: 'select' } },
  items: { tenant: 'none', rights: { runner: 'select', relay: 'select, update (catalogue_version)', rollouts: 'select, update (catalogue_version)', http: 'select', deliveries: 'select', consumers: 'select', sweeper: 'select', publisher: 'select, insert, update', operator: 'select' } },
  key_lists: { tenant: 'none', rights: { http: 'select', deliveries: 'select', publisher: 'select, insert', operator: 'select' } },
  releases: { tenant: 'none', rights: { runner: 'select', relay: 'select', rollouts: 'select', http: 'select', deliveries: 'select', consumers: 'select', sweeper: 'select', publisher: 'select, insert, update', operator: 'select' } },
  channels: { tenant: 'none', rights: { runner: 'select', relay: 'select', rollouts: 'select, insert, update', http: 'select', deliveries: 'select', consumers: 'select', sweeper: 'select', publisher: 'select, insert, update', operator: 'select' } },
  runtime_baselines: { tenant: 'none', rights: { deliveries: 'select', sweeper: 'select', rollouts: 'select', relay: 'select', runner: 'select', publisher: 'select, insert, update, delete', operator: 'select' } },
  templated_workspaces: { tenant: 'workspace', rights: { deliveries: 'select', consumers: 'select, insert', sweeper: 'select', relay: 'select', operator: 'select' } },
  rollouts: { tenant: 'none', rights: { runner: 'select', http: 'select', deliveries: 'select', consumers: 'select', sweeper: 'select', rollouts: 'select, update', publisher: 'select, insert, update', operator: 'select' } },
  baselines: { tenant: 'none', rights: { runner: 'select', deliveries: 'select', sweeper: 'select', publisher: 'select, insert', operator: 'select' } },
  // The door reads of which tenant a workspace is before it has one.
  workspace_records: { tenant: 'org', everyTenantFor: ['http'], rights: { runner: 'select', rollouts: 'select', http: 'select', deliveries: locks('event_id'), consumers: 'select, insert, update', sweeper: locks('event_id'), operator: 'select' } },
  workspace_items: { tenant: 'org', rights: { publisher: 'select', http: 'select', runner: 'select', relay: 'select, insert, delete', rollouts: 'select', deliveries: 'select, insert, delete', consumers: 'select, insert, update, delete', sweeper: 'select', operator: 'select' } },
  pending: {
    // A claim takes what is due, whosever it is; what the claim is for is read in a transaction of its tenant.
    tenant: 'org', everyTenantFor: ['deliveries'],
    rights: { publisher: 'select, insert, update', runner: 'select, insert, update', relay: 'select, insert, update', rollouts: 'select', http: 'select', deliveries: 'select, insert, update, delete', consumers: 'select, insert, update', sweeper: 'select, insert, update', operator: 'select' },
  },
  // A page of wakes belongs to an item; it says of which org only where the cause was a line.
  fanouts: { tenant: 'none', rights: { http: 'select', relay: 'insert', rollouts: 'select, insert', deliveries: 'select, update', consumers: 'insert', sweeper: 'insert', publisher: 'insert', operator: 'select' } },
  deliveries: { tenant: 'org', rights: { publisher: 'select', runner: 'select', relay: 'select, insert, update', rollouts: 'select', http: 'select', deliveries: 'select, update', consumers: 'select, insert, update', sweeper: 'select, update', operator: 'select' } },
  attempts: { tenant: 'org', rights: { rollouts: 'select', http: 'select', deliveries: 'select, insert, update', sweeper: 'select', operator: 'select' } },
  receipts: { tenant: 'workspace', rights: { relay: 'select, insert, update, delete', http: 'select', deliveries: 'select, insert, update, delete', sweeper: 'select', operator: 'select' } },
  receipt_directories: { tenant: 'workspace', rights: { relay: 'select, insert, delete', deliveries: 'select, insert, delete', sweeper: 'select', operator: 'select' } },
};

const sequenceRights: Readonly<Record<string, Partial<Readonly<Record<DatabaseRole, string>>>>> = {
  pending_n: { publisher: 'usage', deliveries: 'usage', consumers: 'usage', relay: 'usage', sweeper: 'usage', runner: 'usage' },
  // Raised where the database is behind its volumes or its topics (I26).
  attempt_numbers: { deliveries: 'usage, update', relay: 'select, update' },
};

/**
 * Makes roles, rights and row-level security what the table says, in one transaction; safe to repeat, and to be done again
 * after every migration. With FORCE the owner of the tables sees a tenant's rows no more than others do.
 * @throws Failure input CONFIG_INVALID when the login may not make the roles, or does not own the tables
 */
export async function applyDatabaseRoles(database: Database): Promise<string[]> {
  try {
    return await tx(database, async (trx) => {
      for (const role of databaseRoleNames) await trx.raw(createRole(roleName(role)));
      const { rows: [place] } = await trx.raw<{ rows: [{ schema: string }] }>('select quote_ident(current_schema()) as schema');
      for (const role of databaseRoleNames) await trx.raw(`grant usage on schema ${place.schema} to ${roleName(role)}`);
      for (const [table, rights] of Object.entries(tableRights)) await secureTable(trx, table, rights);
      for (const [sequence, rights] of Object.entries(sequenceRights)) await grant(trx, `sequence ${sequence}`, rights);
      return databaseRoleNames.map(roleName);
    });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === '42501')) throw error;
    throw new Failure('input', 'CONFIG_INVALID', `The roles cannot be made by this login: ${error.message}. Use one that owns the tables and may create roles, or have an administrator create ${databaseRoleNames.map(roleName).join(', ')} as roles without login first`, { cause: error });
  }
}

/** Whether a database has been given its roles: then a migration gives them their rights on what is new. */
export async function hasDatabaseRoles(database: Database): Promise<boolean> {
  const { rows: [found] } = await database.raw<{ rows: [{ forced: boolean | null }] }>(`select (select relforcerowsecurity from pg_class where oid = to_regclass('deliveries')) as forced`);
  return found.forced === true;
}

/** Roles are the server's, not the database's: another database may have made them, or may be doing so. */
const createRole = (name: string): string => `do $$ begin
  if not exists (select from pg_roles where rolname = '${name}') then create role ${name} nologin; end if;
exception when duplicate_object or unique_violation then null; end $$`;

async function grant(trx: Transaction, what: string, rights: TableRights['rights']): Promise<void> {
  for (const role of databaseRoleNames) {
    await trx.raw(`revoke all on ${what} from ${roleName(role)}`);
    const given = rights[role];
    if (given !== undefined) await trx.raw(`grant ${given} on ${what} to ${roleName(role)}`);
  }
}

/** The tenant of the transaction; evaluated once a statement. After a transaction the setting reads as '', which is nobody's. */
const tenant = `(select current_setting('waybill.tenant', true))`;
const conditionOf: Readonly<Record<'org' | 'workspace', (table: string) => string>> = {
  org: () => `${tenant} in ('*', org_id::text)`,
  workspace: (table) => `exists (select from deliveries d where d.workspace_id = ${table}.workspace_id)`, // itself restricted
};

async function secureTable(trx: Transaction, table: string, { tenant: whose, everyTenantFor = [], rights }: TableRights): Promise<void> {
  await grant(trx, `table ${table}`, rights);
  if (whose === 'none') return;
  const bound = restricted.filter((role) => !everyTenantFor.includes(role)).map(roleName).join(', ');
  const free = databaseRoleNames.filter((role) => !restricted.includes(role) || everyTenantFor.includes(role)).map(roleName).join(', ');
  const condition = conditionOf[whose](table);
  await trx.raw(`drop policy if exists of_tenant on ${table}`);
  await trx.raw(`drop policy if exists of_every_tenant on ${table}`);
  // A row of nobody (a denial of an unknown caller) may be left by anybody, and read by none of the restricted.
  await trx.raw(`create policy of_tenant on ${table} to ${bound} using (${condition})${table === 'audit' ? ` with check (org_id is null or ${condition})` : ''}`);
  await trx.raw(`create policy of_every_tenant on ${table} to ${free} using (true)`);
  await trx.raw(`alter table ${table} enable row level security, force row level security`);
}
