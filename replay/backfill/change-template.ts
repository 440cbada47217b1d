import { tx, type Transaction } from '../../process/database.ts';
import { asFailure, type Failure } from '../../process/failure.ts';
import { passStep } from '../../process/steps.ts';
import type { CatalogueItem, CatalogueLookup } from '../../producers/check-items.ts';
import { changeTemplate } from '../../producers/control-plane.ts';
import type { ItemId, WorkspaceId } from '../../schemas/ids.ts';
import type { RunControl } from '../run/drive-run.ts';
import type { ItemEnd } from '../run/item-page.ts';
import { requireFenceThere, type Lease } from '../run/lease.ts';
import type { BackfillDeps } from './backfill-deps.ts';
import { findChange, insertChange, loadWorkspaces, type WorkspaceRow } from './control-plane-rows.ts';
import type { TagVerdict } from './tag-verdict.ts';

/** One change of one workspace by a run. */
export interface TemplateChange {
  readonly workspaceId: WorkspaceId;
  readonly template: ItemId | null;
  readonly origin: 'backfill' | 'rollback';
  /** Asked with the record as it is read in the transaction of the change. */
  readonly decide: (row: WorkspaceRow) => TagVerdict;
  /** What the catalogue said of the template, asked before any row was locked. */
  readonly known: CatalogueItem | undefined;
}

/** A record that changes all the time is left for the next run. */
const triesMax = 5;
/** Refusals of the control plane's functions that concern this workspace alone. */
const ofTheWorkspace = new Set<Failure['code']>(['REMOVED', 'RUNTIME_MISMATCH', 'TEMPLATE_UNKNOWN', 'NOT_FOUND']);

/**
 * Changes one record through the control plane's own function, with the trace of the run in the same transaction (D5). Done
 * before, by a process that died since: its trace is found, and nothing is written again. A lost answer to the commit is told
 * the same way by the next try.
 * @throws Failure input RUN_LEASED; dependency UNAVAILABLE
 */
export async function changeByRun(deps: BackfillDeps, control: RunControl, change: TemplateChange): Promise<ItemEnd> {
  for (let tries = 1; ; tries += 1) {
    try {
      const end = await tx(deps.controlPlane, async (trx) => await changeIn(trx, control.lease, change));
      if (end.state === 'ok') passStep('backfill:change:committed', change.workspaceId);
      if (end.result?.['status'] === 'online') control.noteRestart();
      return end;
    } catch (error) {
      const failure = asFailure(error);
      if (failure.kind !== 'input' || failure.code === 'RUN_LEASED') throw error;
      if (failure.code === 'STALE_VERSION' && tries < triesMax) continue;
      if (failure.code === 'STALE_VERSION') return { state: 'failed', code: 'STALE_VERSION' };
      if (ofTheWorkspace.has(failure.code)) return { state: 'skipped', code: failure.code };
      throw error;
    }
  }
}

async function changeIn(trx: Transaction, lease: Lease, { workspaceId, template, origin, decide, known }: TemplateChange): Promise<ItemEnd> {
  await requireFenceThere(trx, lease);
  const done = await findChange(trx, lease.runId, workspaceId);
  if (done !== undefined) return { state: 'ok', result: { recordVersion: done.recordVersion, epoch: done.epoch, status: done.status, readBack: true } };
  const row = (await loadWorkspaces(trx, [workspaceId])).get(workspaceId);
  if (row === undefined) return { state: 'skipped', code: 'NOT_FOUND' };
  const verdict = decide(row);
  if (verdict.act === 'leave') return { state: verdict.state, code: verdict.code };
  const catalogue: CatalogueLookup = { findItem: async () => await Promise.resolve(known) };
  // The version read above: whoever changed the record in between is not overwritten.
  const { outcome, record } = await changeTemplate(
    trx, catalogue, { workspace_id: workspaceId, template }, { origin, runId: lease.runId, ifVersion: row.recordVersion },
  );
  if (outcome === 'unchanged') return { state: 'already' };
  await insertChange(trx, lease.runId, {
    workspaceId, recordVersion: record.record_version, epoch: record.epoch, templateBefore: row.template, templateAfter: template, status: record.status,
  });
  passStep('backfill:change:commit', workspaceId);
  return { state: 'ok', result: { recordVersion: record.record_version, epoch: record.epoch, status: record.status } };
}
