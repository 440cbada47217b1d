import { isDeepStrictEqual } from 'node:util';

import { baselineName, findBaselineItem } from '../catalogue/baseline-items.ts';
import { loadBaseline } from '../catalogue/baselines.ts';
import { loadCatalogue, loadSealedReleases, type SealedRelease } from '../catalogue/lookup.ts';
import type { ReleaseManifest } from '../catalogue/manifest.ts';
import { sourceFault } from '../catalogue/source.ts';
import { targetPath } from '../catalogue/target-path.ts';
import { readEntitlements } from '../entitlements/read-entitlements.ts';
import type { Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { lockItems, lockOrgItems } from '../process/locks.ts';
import type { ItemId, RuntimeId, WorkspaceId } from '../schemas/ids.ts';
import { findRuntime } from '../schemas/runtimes.ts';
import { decideDelivery, type Decision, type DeliveryState, type WorkspaceState } from './decide.ts';
import type { LockedWorkspace, Receipt } from './delivery-rows.ts';
import { forbiddenReleases } from './forbidden.ts';
import type { DigestsByPath, WantedFile } from './volume/volume-work.ts';
import { verifySignedRecord } from './unseal.ts';
import { wantedSet, type WantedSet } from './wanted-set.ts';

declare const planned: unique symbol;

/** A file of a wanted release at its path on the volume. */
export interface PlannedFile extends WantedFile, Receipt {
  /** Read by the boot probe: ready means that this one is there, digest for digest (C9). */
  readonly identity: boolean;
  /** Its path inside the archive of its release. */
  readonly archivePath: string;
}

/** A release that an attempt may ask a grant for. */
export interface PlannedRelease extends SealedRelease {
  readonly signed: ReleaseManifest;
  readonly plannedFiles: readonly PlannedFile[];
}

/**
 * Permission for one attempt to bring one workspace to one set. Made here and nowhere else; grants, sources, permit and
 * finish accept nothing else (C1). A value of this type cannot be built by hand: the brand is private to this file.
 */
export interface DeliveryPlan {
  readonly [planned]: true;
  readonly attempt: number;
  /** pending.n as read at start. */
  readonly n: number;
  readonly workspace: WorkspaceState;
  /** As read at start; later comparisons use it too, because permit itself changes the row. */
  readonly delivery: DeliveryState;
  readonly wanted: WantedSet;
  readonly decision: Decision;
  /**
   * The wanted releases, each with the files of its manifest; none when the decision needs no files. The first reading
   * verifies the signatures, so it belongs outside a transaction and may throw INTEGRITY_FAILED.
   */
  readonly releases: readonly PlannedRelease[];
  /** What the platform wrote before waybill existed, by path on the volume: counts as ours (C8). */
  readonly known: DigestsByPath;
}

export interface ResolveOptions {
  readonly thirdPartySellers: boolean;
}

/**
 * The single chokepoint (C1): the only place that reads the catalogue for a delivery, holds `template` against the
 * allowlist and the entitlements, and authorises bytes. Takes the shared locks on every item concerned, so that no fold,
 * expiry or catalogue write commits between the answer and the end of the caller's transaction.
 * Errors: STALE_VERSION when `template` is not the current record's.
 */
export async function resolveTemplateAssets(
  trx: Transaction, template: ItemId | null, locked: LockedWorkspace, claim: { attempt: number; n: number }, options: ResolveOptions,
): Promise<DeliveryPlan> {
  const { workspace, delivery } = locked;
  const { wanted, decision } = await decideLocked(trx, template, locked, delivery, options);
  return await assemble(trx, claim, { workspace, delivery, wanted, decision });
}

async function assemble(trx: Transaction, claim: { attempt: number; n: number }, decided: StoredPlan): Promise<DeliveryPlan> {
  const { workspace, wanted, decision } = decided;
  const needsFiles = decision.act === 'boot' || decision.act === 'stage' || decision.act === 'confirm';
  const sealed = needsFiles ? await loadSealedReleases(trx, wanted.items) : [];
  let releases: readonly PlannedRelease[] | undefined;
  return {
    attempt: claim.attempt, n: claim.n, ...decided, known: needsFiles ? await loadKnown(trx, workspace.runtime) : new Map(),
    get releases() {
      releases ??= sealed.map((release) => planRelease(workspace, release));
      return releases;
    },
  } as DeliveryPlan;
}

/**
 * Whether what was planned is still what would be planned now, under the same locks: asked at the grant, at *permit*, at
 * *staged* and at *finish* (A8, C7). `current` is the workspace as locked now.
 */
export async function isStillPlanned(trx: Transaction, plan: DeliveryPlan, current: LockedWorkspace, options: ResolveOptions): Promise<boolean> {
  if (current.currentAttempt !== plan.attempt || current.workspace.template !== plan.workspace.template) return false;
  const now = await decideLocked(trx, plan.workspace.template, current, plan.delivery, options);
  const comparable = (workspace: WorkspaceState, wanted: WantedSet, decision: Decision): unknown[] => [
    workspace.status, workspace.epoch, workspace.generation, workspace.deliveryMode, workspace.runtime, wanted, decision,
  ];
  // Not by their JSON: a restored plan has its fields in the database's order.
  return isDeepStrictEqual(comparable(current.workspace, now.wanted, now.decision), comparable(plan.workspace, plan.wanted, plan.decision));
}

async function decideLocked(
  trx: Transaction, template: ItemId | null, { workspace, hadTemplate }: Pick<LockedWorkspace, 'workspace' | 'hadTemplate'>, delivery: DeliveryState,
  options: ResolveOptions,
): Promise<{ wanted: WantedSet; decision: Decision }> {
  if (template !== workspace.template) {
    throw new Failure('subject', 'STALE_VERSION', `workspace ${workspace.workspaceId} no longer asks for template ${template ?? 'null'}`);
  }
  const baseline = template === null && hadTemplate ? await lockBaseline(trx, workspace.runtime) : null;
  const named = [...[template, baseline].filter((itemId) => itemId !== null), ...workspace.plugins];
  const concerned = [...new Set([...named, ...[...delivery.held, ...delivery.waiting].map((release) => release.itemId)])];
  await lockOrgItems(trx, concerned.map((itemId) => ({ org_id: workspace.orgId, item_id: itemId })), 'shared');
  await lockItems(trx, concerned, 'shared');
  const catalogue = await loadCatalogue(trx, concerned);
  const entitlements = await readEntitlements(trx, workspace.orgId, concerned);
  const wanted = wantedSet({
    workspaceId: workspace.workspaceId, template, baseline, plugins: workspace.plugins, runtime: workspace.runtime, catalogue, entitlements,
    held: delivery.held, thirdPartySellers: options.thirdPartySellers,
  });
  const forbidden = forbiddenReleases({ held: delivery.held, catalogue, entitlements });
  // A copy of what may no longer be held does not wait for the next fence: it is what a dead attempt left (I9).
  const residue = delivery.residue || forbiddenReleases({ held: delivery.waiting, catalogue, entitlements }).length > 0;
  return { wanted, decision: decideDelivery(workspace, { ...delivery, residue }, wanted, forbidden) };
}

/**
 * The item in place of a cleared template. Locked before the other items and so out of order with them: who takes an item
 * exclusive takes one alone and waits for nothing then, so nobody waits in a circle.
 */
async function lockBaseline(trx: Transaction, runtime: RuntimeId): Promise<ItemId | null> {
  await lockItems(trx, [baselineName(runtime)], 'shared');
  return await findBaselineItem(trx, runtime) ?? null;
}

/** The baseline of a runtime at its places on the volume. */
async function loadKnown(trx: Transaction, runtimeId: RuntimeId): Promise<DigestsByPath> {
  const root = findRuntime(runtimeId)?.configRoot;
  if (root === undefined) return new Map();
  const byPath = Map.groupBy(await loadBaseline(trx, runtimeId), (file) => `${root}/${file.path}`);
  return new Map([...byPath].map(([path, files]) => [path, files.map((file) => file.sha256)]));
}

/** A sealed release with its files at their places on this workspace's volume. */
function planRelease(workspace: WorkspaceState, release: SealedRelease): PlannedRelease {
  const { itemId, version } = release;
  const runtime = findRuntime(workspace.runtime);
  if (runtime === undefined) throw new Failure('subject', 'RUNTIME_UNKNOWN', `workspace ${workspace.workspaceId} has the runtime ${workspace.runtime}`);
  const fault = sourceFault(release, release.source);
  if (fault !== undefined) throw new Failure('subject', 'SOURCE_REFUSED', `${itemId} ${version} is not fetched from its source, ${release.source}: ${fault}`);
  const signed = verifySignedRecord(release);
  const plannedFiles = signed.files.map((file): PlannedFile => ({
    path: targetPath(release.kind, itemId, runtime, file.path),
    archivePath: file.path,
    sha256: file.sha256,
    size: file.bytes,
    executable: file.executable,
    identity: file.identity,
    itemId,
    version,
  }));
  return { ...release, signed, plannedFiles };
}

/** Every file of the plan. */
export const filesOf = (plan: DeliveryPlan): PlannedFile[] => plan.releases.flatMap((release) => release.plannedFiles);

/** The plan as it is stored with its attempt: what was decided and from what, without the manifests. */
export const planForRecord = ({ workspace, delivery, wanted, decision }: DeliveryPlan): StoredPlan => ({ workspace, delivery, wanted, decision });

type StoredPlan = Pick<DeliveryPlan, 'workspace' | 'delivery' | 'wanted' | 'decision'>;

/**
 * The plan of an attempt of this workspace, as *start* stored it: for the steps of an attempt that come from elsewhere, one
 * by one. Whether it may still be done is asked by each of them (`isStillPlanned`). Undefined: no such attempt.
 */
export async function restorePlan(trx: Transaction, workspaceId: WorkspaceId, attempt: number): Promise<DeliveryPlan | undefined> {
  const { rows: [row] } = await trx.raw<{ rows: { n: number; plan: StoredPlan }[] }>(
    'select n, plan from attempts where attempt = ? and workspace_id = ?', [attempt, workspaceId],
  );
  return row && await assemble(trx, { attempt, n: row.n }, row.plan);
}
