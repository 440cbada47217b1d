import { asDatabaseFailure, type Database, type Transaction } from '../../process/database.ts';
import type { WorkspaceStatus } from '../../schemas/generated/events.ts';
import type { OrgId, RuntimeId, WorkspaceId } from '../../schemas/ids.ts';

/** A workspace as the control plane's database has it: the truth about its template. */
export interface WorkspaceRow {
  readonly workspaceId: WorkspaceId;
  readonly orgId: OrgId;
  readonly runtime: RuntimeId;
  readonly template: string | null;
  readonly status: WorkspaceStatus;
  readonly deliveryMode: 'volume' | 'box';
  readonly epoch: number;
  readonly recordVersion: number;
  /** The record version that set the template last. */
  readonly templateVersion: number;
}

const columns = `workspace_id as "workspaceId", org_id as "orgId", runtime, template, status, delivery_mode as "deliveryMode", epoch,
  record_version as "recordVersion", template_version as "templateVersion"`;

/** The rows of these workspaces, by full id and nothing else; no lock. */
export async function loadWorkspaces(database: Database, ids: readonly WorkspaceId[]): Promise<Map<WorkspaceId, WorkspaceRow>> {
  const rows = await ask<WorkspaceRow>(database, `select ${columns} from waybill_workspaces where workspace_id = any(?::uuid[])`, [[...ids]]);
  return new Map(rows.map((row) => [row.workspaceId, row]));
}

/** The workspaces without a template on exactly these runtimes, in the order of their ids. */
export async function listUntagged(database: Database, runtimes: readonly RuntimeId[]): Promise<WorkspaceId[]> {
  const rows = await ask<{ workspaceId: WorkspaceId }>(
    database,
    `select workspace_id as "workspaceId" from waybill_workspaces where template is null and status <> 'removed' and runtime = any(?::text[]) order by workspace_id`,
    [[...runtimes]],
  );
  return rows.map(({ workspaceId }) => workspaceId);
}

/** What a run changed at one workspace, written in the transaction of the change (D5, D6). */
export interface RunChange {
  readonly workspaceId: WorkspaceId;
  readonly recordVersion: number;
  readonly epoch: number;
  readonly templateBefore: string | null;
  readonly templateAfter: string | null;
  readonly status: WorkspaceStatus;
}

const changeColumns = `workspace_id as "workspaceId", record_version as "recordVersion", epoch, template_before as "templateBefore",
  template_after as "templateAfter", status`;

/** Undefined: the run has not changed this workspace. */
export async function findChange(trx: Transaction, runId: string, workspaceId: WorkspaceId): Promise<RunChange | undefined> {
  const { rows } = await trx.raw<{ rows: RunChange[] }>(`select ${changeColumns} from waybill_run_changes where run_id = ? and workspace_id = ?`, [runId, workspaceId]);
  return rows[0];
}

export async function insertChange(trx: Transaction, runId: string, change: RunChange): Promise<void> {
  await trx.raw(
    'insert into waybill_run_changes (run_id, workspace_id, record_version, epoch, template_before, template_after, status) values (?, ?, ?, ?, ?, ?, ?)',
    [runId, change.workspaceId, change.recordVersion, change.epoch, change.templateBefore, change.templateAfter, change.status],
  );
}

/** Everything that a run changed, in the order of ids. */
export async function listChanges(database: Database, runId: string): Promise<RunChange[]> {
  return await ask<RunChange>(database, `select ${changeColumns} from waybill_run_changes where run_id = ? order by workspace_id`, [runId]);
}

async function ask<Row>(database: Database, sql: string, bindings: readonly (string | string[])[]): Promise<Row[]> {
  try {
    const { rows } = await database.raw<{ rows: Row[] }>(sql, [...bindings]);
    return rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
