import { findItem } from '../../catalogue/lookup.ts';
import { Failure } from '../../process/failure.ts';
import type { CatalogueItem } from '../../producers/check-items.ts';
import { parseWorkspaceId, type ItemId, type OrgId } from '../../schemas/ids.ts';
import { driveRun, type Driven, type DriveOptions, type RunControl } from '../run/drive-run.ts';
import { endEach, type ItemEnd } from '../run/item-page.ts';
import { raiseFence } from '../run/lease.ts';
import { loadItems, loadRun, requirePlanIntact, type Run, type RunItem } from '../run/runs.ts';
import type { BackfillDeps } from './backfill-deps.ts';
import { missingCanaries, movedPins, pinName, type Pin, type VerifiedCanary } from './canary-gate.ts';
import { changeByRun } from './change-template.ts';
import { sameIdentity } from './identity.ts';
import { readIdentity, type BackfillPlan, type TagPlan } from './plan-backfill.ts';
import { createPinResolver } from './resolve-pin.ts';
import { decideTag } from './tag-verdict.ts';

/** What a backfill keeps beside its items. */
export interface BackfillCheckpoint {
  readonly canaries?: readonly VerifiedCanary[];
}

export const canariesOf = (run: Run): readonly VerifiedCanary[] => (run.checkpoint as BackfillCheckpoint).canaries ?? []; // written by this room alone

/**
 * Tags the one workspace of the plan that is named by its full id, and nothing else (D4). The run is paused then: the fleet
 * waits until `verifyRun` has found the canary ready with the planned release.
 * @throws Failure input NOT_FOUND (not in the plan), PLAN_CHANGED, RUN_LEASED, STALE_VERSION
 */
export async function applyCanary(deps: BackfillDeps, runId: string, workspace: string, options: DriveOptions): Promise<Driven> {
  const workspaceId = parseWorkspaceId(workspace, 'canary');
  const run = await loadRun(deps.database, runId, ['backfill']);
  await requirePlanIntact(deps.database, run);
  const item = await findPlanned(deps, runId, workspaceId);
  await requirePins(deps, run, [item]);
  return await driveRun(deps.database, runId, options, async (control) => {
    await raiseFence(deps.controlPlane, control.lease);
    await tagAll(deps, control, [item]);
    return 'paused';
  });
}

async function findPlanned(deps: BackfillDeps, runId: string, workspaceId: string): Promise<RunItem> {
  for (let after = 0; ;) {
    const page = await loadItems(deps.database, runId, { after });
    const found = page.find(({ subject }) => subject === workspaceId);
    if (found?.state === 'planned') return found;
    if (found !== undefined) throw new Failure('input', 'STALE_VERSION', `Workspace ${workspaceId} is ${found.state}${found.code === null ? '' : ` (${found.code})`} in this run: choose one that is still planned.`);
    const last = page.at(-1);
    if (last === undefined) throw new Failure('input', 'NOT_FOUND', `Workspace ${workspaceId} is not in run ${runId}.`);
    after = last.line;
  }
}

/**
 * Tags every workspace of the plan that is not done yet, each in its own transaction, and goes on where it was stopped or
 * killed (D5). Refused without a verified canary for each release of the plan, and when what the plan resolved to has moved.
 * @throws Failure input CANARY_MISSING, PLAN_CHANGED, RUN_LEASED, STALE_VERSION, NOT_FOUND
 */
export async function applyFleet(deps: BackfillDeps, runId: string, options: DriveOptions): Promise<Driven> {
  const run = await loadRun(deps.database, runId, ['backfill']);
  await requirePlanIntact(deps.database, run);
  await requireCanaries(deps, run);
  return await driveRun(deps.database, runId, options, async (control) => {
    await raiseFence(deps.controlPlane, control.lease);
    for (;;) {
      const page = await loadItems(deps.database, runId, { state: 'planned', limit: 500 });
      if (page.length === 0) return;
      // Looked at for each page: what moves under a run stops it.
      await requirePins(deps, control.run, page);
      await tagAll(deps, control, page);
    }
  });
}

async function requireCanaries(deps: BackfillDeps, run: Run): Promise<void> {
  const planned = await loadItems(deps.database, run.runId, { state: 'planned', limit: 1_000 });
  if (planned.length === 0) return;
  const missing = missingCanaries((run.plan as BackfillPlan).pins, canariesOf(run)); // a plan of this kind
  if (missing.length > 0) {
    throw new Failure('input', 'CANARY_MISSING', `Run ${run.runId} has no verified canary for ${missing.map(({ item, version }) => `${item}@${version}`).join(', ')}.`);
  }
  await requirePins(deps, run, planned);
}

/** @throws Failure input PLAN_CHANGED */
async function requirePins(deps: BackfillDeps, run: Run, items: readonly RunItem[]): Promise<void> {
  const plan = run.plan as BackfillPlan; // a plan of this kind
  for (const { item, catalogueVersion } of plan.items) {
    const entry = await findItem(deps.database, item);
    if (entry?.catalogueVersion !== catalogueVersion) {
      throw new Failure('input', 'PLAN_CHANGED', `${item} has changed in the catalogue since the plan: it was at version ${catalogueVersion}, now ${entry?.catalogueVersion ?? 'it is gone'}.`);
    }
  }
  const resolve = createPinResolver(deps.database, deps.thirdPartySellers);
  for (const item of items) {
    const { item: template, runtime, pin } = item.plan as TagPlan; // a plan of this kind
    if (pin === null || item.orgId === null) continue;
    // The org was read from the control plane's own column.
    const now = await resolve({ workspaceId: parseWorkspaceId(item.subject), org: item.orgId as OrgId, item: template, runtime });
    if (movedPins([pin], 'pin' in now ? [now.pin] : []).length > 0) {
      throw new Failure('input', 'PLAN_CHANGED', `Workspace ${item.subject} would get ${'pin' in now ? pinName(now.pin) : `nothing (${now.code})`} now, not ${pinName(pin)}.`);
    }
  }
}

async function tagAll(deps: BackfillDeps, control: RunControl, items: readonly RunItem[]): Promise<void> {
  const known = new Map<ItemId, CatalogueItem | undefined>();
  await endEach(control, items, async (item) => {
    const { item: template } = item.plan as TagPlan; // a plan of this kind
    if (!known.has(template)) known.set(template, await findItem(deps.database, template));
    return await tagOne(deps, control, item, known.get(template));
  });
}

async function tagOne(deps: BackfillDeps, control: RunControl, item: RunItem, known: CatalogueItem | undefined): Promise<ItemEnd> {
  const plan = item.plan as TagPlan; // a plan of this kind
  const workspaceId = parseWorkspaceId(item.subject);
  try {
    const identity = await readIdentity(deps, workspaceId, plan.runtime);
    // Compared at the write, not at the plan alone; what was tagged before the process died has its files replaced by now.
    if (!sameIdentity(identity, plan.identity)) {
      return await changeByRun(deps, control, { workspaceId, template: plan.item, origin: 'backfill', known, decide: () => ({ act: 'leave', state: 'skipped', code: 'IDENTITY_CHANGED' }) });
    }
  } catch (error) {
    if (error instanceof Failure && error.kind === 'subject') return { state: 'failed', code: error.code };
    throw error;
  }
  return await changeByRun(deps, control, { workspaceId, template: plan.item, origin: 'backfill', known, decide: (row) => decideTag(row, plan) });
}

/** The releases of a plan, for what is shown of it. */
export const pinsOf = (run: Run): readonly Pin[] => (run.plan as BackfillPlan).pins; // a plan of this kind
