import { Failure } from '../../process/failure.ts';
import { parseWorkspaceId, type ItemId } from '../../schemas/ids.ts';
import { driveRun, type Driven, type DriveOptions } from '../run/drive-run.ts';
import { endPlanned } from '../run/item-page.ts';
import { raiseFence } from '../run/lease.ts';
import { insertPlan, loadRun, requirePlanIntact, type Run, type RunItem } from '../run/runs.ts';
import type { BackfillDeps } from './backfill-deps.ts';
import { changeByRun } from './change-template.ts';
import { listChanges, loadWorkspaces } from './control-plane-rows.ts';
import { decideRevert } from './tag-verdict.ts';

/** The plan of one workspace: what the backfill set, and with which version. */
export interface RevertPlan {
  readonly item: ItemId | null;
  readonly recordVersion: number;
}

const pageSize = 500;

/**
 * What a backfill changed and is still its own: the value that it set, and nobody set the template since (D6). The rest is
 * listed with why it stays. The changed set is that of the control plane's database, which is the truth also after a kill.
 * @throws Failure input NOT_FOUND (no backfill, or it changed nothing), STALE_VERSION (it runs)
 */
export async function planRollback(deps: BackfillDeps, backfillId: string, reason: string): Promise<Run> {
  const backfill = await loadRun(deps.database, backfillId, ['backfill']);
  if (backfill.holder !== null) throw new Failure('input', 'STALE_VERSION', `Run ${backfillId} is being run by ${backfill.holder}: pause or abort it first.`);
  const changes = await listChanges(deps.controlPlane, backfillId);
  if (changes.length === 0) throw new Failure('input', 'NOT_FOUND', `Run ${backfillId} has changed nothing.`);
  const items: RunItem[] = [];
  for (let from = 0; from < changes.length; from += pageSize) {
    const page = changes.slice(from, from + pageSize);
    const rows = await loadWorkspaces(deps.controlPlane, page.map(({ workspaceId }) => workspaceId));
    for (const change of page) {
      const row = rows.get(change.workspaceId);
      const verdict = row === undefined ? { act: 'leave', state: 'skipped', code: 'NOT_FOUND' } as const : decideRevert(row, { template: change.templateAfter, recordVersion: change.recordVersion });
      items.push({
        line: items.length + 1, subject: change.workspaceId, orgId: row?.orgId ?? null, result: {},
        plan: { item: change.templateAfter as ItemId | null, recordVersion: change.recordVersion } satisfies RevertPlan, // an item that the catalogue had
        ...(verdict.act === 'tag' ? { state: 'planned' as const, code: null } : { state: verdict.state, code: verdict.code }),
      });
    }
  }
  return await insertPlan(deps.database, { kind: 'rollback', reason, plan: { of: backfillId }, total: items.length, items, controls: backfill.controls });
}

/** Clears the template again where it is still the backfill's own, compared at each write (D6); C6's clearing follows. */
export async function applyRollback(deps: BackfillDeps, runId: string, options: DriveOptions): Promise<Driven> {
  await requirePlanIntact(deps.database, await loadRun(deps.database, runId, ['rollback']));
  return await driveRun(deps.database, runId, options, async (control) => {
    await raiseFence(deps.controlPlane, control.lease);
    await endPlanned(deps.database, control, async (item) => {
      const { item: template, recordVersion } = item.plan as RevertPlan; // a plan of this kind
      return await changeByRun(deps, control, {
        workspaceId: parseWorkspaceId(item.subject), template: null, origin: 'rollback', known: undefined,
        decide: (row) => decideRevert(row, { template, recordVersion }),
      });
    });
  });
}
