import { findItem } from '../../catalogue/lookup.ts';
import { asDatabaseFailure, tx, type Database, type Transaction } from '../../process/database.ts';
import { Failure, asFailure } from '../../process/failure.ts';
import { passStep } from '../../process/steps.ts';
import { purchase } from '../../producers/billing.ts';
import type { CatalogueLookup } from '../../producers/check-items.ts';
import { changeStatus, provisionWorkspace } from '../../producers/control-plane.ts';
import type { ItemId, WorkspaceId } from '../../schemas/ids.ts';
import { findChange, insertChange, loadWorkspaces } from '../backfill/control-plane-rows.ts';
import { driveRun, type Driven, type DriveOptions, type RunControl } from '../run/drive-run.ts';
import { endPlanned, type ItemEnd } from '../run/item-page.ts';
import { raiseFence, requireFenceThere } from '../run/lease.ts';
import { refuseFaults, type LineFault } from '../run/line-faults.ts';
import { insertPlan, loadRun, requirePlanIntact, type Run, type RunItem } from '../run/runs.ts';
import { parseRows, subjectOf, type ImportedKind, type ImportedLine, type ImportedRow, type ImportedWorkspace, type ParsedRow, type RawRow } from './import-rows.ts';

export interface ImportDeps {
  readonly database: Database;
  readonly controlPlane: Database;
  readonly billing: Database;
}

export interface ImportRequest {
  readonly of: ImportedKind;
  readonly rows: readonly RawRow[];
  readonly faults: readonly LineFault[];
  readonly reason: string;
}

const pageSize = 500;

/**
 * Looks at every row and stores what would be minted; changes nothing (D8). What the producers have already is no work, what
 * they have with other content is left alone and listed.
 * @throws Failure input FIELD_INVALID with every line that is at fault; NOT_FOUND (no rows)
 */
export async function planImport(deps: ImportDeps, { of, rows, faults: unreadable, reason }: ImportRequest): Promise<Run> {
  const { parsed, repeats, faults } = parseRows(of, rows);
  const all = [...unreadable, ...faults, ...await unknownItems(deps.database, parsed)];
  refuseFaults('The import', all);
  if (parsed.length === 0) throw new Failure('input', 'NOT_FOUND', 'There is no row to import.');
  const items: RunItem[] = [];
  for (let from = 0; from < parsed.length; from += pageSize) {
    const page = parsed.slice(from, from + pageSize);
    const verdicts = await verdictsOf(deps, page);
    for (const { line, row } of page) {
      const subject = subjectOf(row);
      items.push({ line, subject, orgId: row.orgId, ...(verdicts.get(subject) ?? { state: 'planned', code: null }), plan: row, result: {} });
    }
  }
  return await insertPlan(deps.database, { kind: 'import', reason, plan: { of, repeats }, total: items.length, items });
}

async function unknownItems(database: Database, parsed: readonly ParsedRow[]): Promise<LineFault[]> {
  const known = new Map<ItemId, boolean>();
  const faults: LineFault[] = [];
  for (const { line, row } of parsed) {
    if (row.of !== 'entitlements') continue;
    if (!known.has(row.itemId)) known.set(row.itemId, (await findItem(database, row.itemId)) !== undefined);
    if (known.get(row.itemId) !== true) faults.push({ line, what: `TEMPLATE_UNKNOWN: ${JSON.stringify(row.itemId)} is not in the catalogue` });
  }
  return faults;
}

type Verdict = Pick<RunItem, 'state' | 'code'>;

/** Only of rows that the producers know. */
async function verdictsOf({ controlPlane, billing }: ImportDeps, page: readonly ParsedRow[]): Promise<Map<string, Verdict>> {
  const workspaces = page.flatMap(({ row }) => (row.of === 'workspaces' ? [row] : []));
  const lines = page.flatMap(({ row }) => (row.of === 'entitlements' ? [row] : []));
  const there = workspaces.length === 0 ? new Map<WorkspaceId, { orgId: string; status: string }>() : await loadWorkspaces(controlPlane, workspaces.map(({ workspaceId }) => workspaceId));
  const verdicts = new Map<string, Verdict>();
  for (const { workspaceId, orgId } of workspaces) {
    const row = there.get(workspaceId);
    if (row !== undefined) verdicts.set(workspaceId, row.orgId === orgId ? { state: 'already', code: null } : { state: 'skipped', code: 'STALE_VERSION' });
  }
  for (const { subject, same, revoked } of lines.length === 0 ? [] : await findLines(billing, lines)) {
    verdicts.set(subject, same ? { state: 'already', code: null } : { state: 'skipped', code: revoked ? 'REVOKED' : 'STALE_VERSION' });
  }
  return verdicts;
}

async function findLines(billing: Database, lines: readonly ImportedLine[]): Promise<{ subject: string; same: boolean; revoked: boolean }[]> {
  try {
    const { rows } = await billing.raw<{ rows: { subject: string; same: boolean; revoked: boolean }[] }>(
      `select concat_ws('/', org_id, item_id, purchase_id) as subject, l.ended_at is not null as revoked,
         l.ended_at is null and (l.source, l.policy, waybill_millis(l.valid_from), waybill_millis(l.valid_until)) is not distinct from (a.source, a.policy, a."validFrom", a."validUntil") as same
       from jsonb_to_recordset(?::jsonb) as a("orgId" uuid, "itemId" text, "purchaseId" text, source text, policy text, "validFrom" bigint, "validUntil" bigint)
       join waybill_lines l on (l.org_id, l.item_id, l.purchase_id) = (a."orgId", a."itemId", a."purchaseId")`, [JSON.stringify(lines)],
    );
    return rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

/**
 * Mints what is planned, through the producers' own functions, each row in its own transaction with its events (D5, D8).
 * Killed and resumed, what was minted is found and not minted again.
 * @throws Failure input PLAN_CHANGED, RUN_LEASED, NOT_FOUND, STALE_VERSION
 */
export async function applyImport(deps: ImportDeps, runId: string, options: DriveOptions): Promise<Driven> {
  await requirePlanIntact(deps.database, await loadRun(deps.database, runId, ['import']));
  return await driveRun(deps.database, runId, options, async (control) => {
    await raiseFence(deps.controlPlane, control.lease);
    await endPlanned(deps.database, control, async (item) => await importRow(deps, control, item.plan as ImportedRow)); // a plan of this kind
  });
}

/** A refusal that concerns this row alone. */
const ofTheRow = new Set(['STALE_VERSION', 'REMOVED', 'REVOKED', 'RUNTIME_UNKNOWN', 'FIELD_INVALID']);

async function importRow({ controlPlane, billing }: ImportDeps, control: RunControl, row: ImportedRow): Promise<ItemEnd> {
  try {
    const end = row.of === 'workspaces'
      ? await tx(controlPlane, async (trx) => await importWorkspace(trx, control, row))
      : await tx(billing, async (trx) => await importLine(trx, control, row));
    if (end.state === 'ok') passStep('import:row:committed', subjectOf(row));
    return end;
  } catch (error) {
    const failure = asFailure(error);
    if (failure.kind === 'input' && ofTheRow.has(failure.code)) return { state: 'skipped', code: failure.code };
    throw error;
  }
}

/** Without template and plugins nothing is looked up. */
const noCatalogue: CatalogueLookup = { findItem: async () => await Promise.resolve(undefined) };

async function importWorkspace(trx: Transaction, { lease }: RunControl, row: ImportedWorkspace): Promise<ItemEnd> {
  await requireFenceThere(trx, lease);
  if ((await findChange(trx, lease.runId, row.workspaceId)) !== undefined) return { state: 'ok', result: { readBack: true } };
  const about = { origin: 'import', runId: lease.runId } as const;
  const { workspaceId: workspace_id, status } = row;
  const provisioned = await provisionWorkspace(trx, noCatalogue, { workspace_id, org_id: row.orgId, runtime: row.runtime, delivery_mode: row.deliveryMode }, about);
  if (provisioned.outcome === 'unchanged') return { state: 'already' };
  let { record } = provisioned;
  // Online first: whatever a workspace does now, it has booted.
  if (status !== 'provisioning') record = (await changeStatus(trx, { workspace_id, status: 'online' }, about)).record;
  if (status !== 'provisioning' && status !== 'online') record = (await changeStatus(trx, { workspace_id, status }, about)).record;
  await insertChange(trx, lease.runId, {
    // A status that asks for no restart: nothing is delivered to it.
    workspaceId: row.workspaceId, recordVersion: record.record_version, epoch: record.epoch, templateBefore: null, templateAfter: null, status: 'provisioning',
  });
  passStep('import:row:commit', workspace_id);
  return { state: 'ok' };
}

async function importLine(trx: Transaction, { lease }: RunControl, row: ImportedLine): Promise<ItemEnd> {
  const result = await purchase(trx, {
    org_id: row.orgId, item_id: row.itemId, purchase_id: row.purchaseId, source: row.source, policy: row.policy, valid_from: row.validFrom, valid_until: row.validUntil,
  }, { runId: lease.runId });
  passStep('import:row:commit', subjectOf(row));
  if (result.outcome === 'refused') return { state: 'skipped', code: result.code };
  return { state: result.outcome === 'minted' ? 'ok' : 'already' };
}
