import { appendAudit } from '../process/audit.ts';
import type { Database, Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { deferClaim, settleClaim } from '../process/pending.ts';
import { Announcer } from './announce.ts';
import { withRestartAsked, type HeldSet } from './decide.ts';
import { closeAttempts, deleteReceipts, noteOutcome, replaceReceipts, writeDelivery, writeHeldItems } from './delivery-rows.ts';
import { lapseName, nameOf, type Lapse, type ReleaseRef } from './forbidden.ts';
import type { DeliveryPlan, ResolveOptions } from './resolve-template-assets.ts';
import { setDigest } from './wanted-set.ts';
import { whilePlanned, type Step } from './while-planned.ts';

/** What an immediate removal did on the volume. */
export interface Removed {
  /** Paths where nothing of ours is any more. */
  readonly paths: readonly string[];
  /** The folders of ours that stand now. */
  readonly directories: readonly string[];
  /** Files that were not ours any more and were moved out of the agent's reach. */
  readonly kept: number;
}

/**
 * *finish* of a removal: what had to go is gone; said, with one restart to follow where the agent was running (C13, I25).
 * The workspace is due again at once: what remains to be done is another decision.
 */
export async function finishRemoval(database: Database, plan: DeliveryPlan, removed: Removed, options: ResolveOptions): Promise<Step> {
  return await whilePlanned(database, plan, options, 'removal', async (trx, locked) => {
    const { decision, delivery, workspace, wanted, attempt } = plan;
    if (decision.act !== 'remove') return;
    const announcer = await Announcer.open(trx, plan, locked.assetsVersion);
    await announcer.revoked(decision.lapses, 'removed');
    if (decision.asksForRestart) await announcer.restartRequested(wanted.setDigest, 'revoked');

    const remaining = without(delivery.held, decision.releases);
    await deleteReceipts(trx, workspace.workspaceId, removed.paths, removed.directories);
    await writeHeldItems(trx, workspace, remaining.map((release) => release.itemId));
    await writeDelivery(trx, workspace.workspaceId, {
      present: withoutReleases(delivery.present, decision.releases),
      staged: null,
      applying: null,
      restartDueAt: null,
      // Nobody runs that could be asked now: asked when the workspace goes online in this epoch.
      ...(!decision.asksForRestart && decision.lapses.length > 0 && { restartOwed: workspace.epoch }),
      // The last word is no outcome any more (I6).
      ...(decision.asksForRestart && { restartRequested: withRestartAsked(delivery, workspace, wanted.setDigest), announced: null }),
      assetsVersion: announcer.assetsVersion,
    });
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'remove', outcome: 'removed',
      attempt, causedBy: workspace.eventId,
      detail: { releases: decision.releases.map(nameOf), reasons: decision.lapses.map((lapse) => lapse.reason), paths: removed.paths.length, kept: removed.kept },
    }]);
    await noteOutcome(trx, attempt, { outcome: 'removed' });
    await deferClaim(trx, { workspaceId: workspace.workspaceId, attempt, n: plan.n }, 0, false);
  });
}

/** Tries, and with their backoff about half an hour, in which a volume that is not there may turn out to be mounted late. */
const goneTriesMin = 8;

/**
 * There is no volume. Of a removed workspace nothing can be left then, and that is said where people look; a volume of any
 * other has to come back, and is tried again for ever.
 * @throws Failure subject VOLUME_UNWRITABLE
 */
export async function finishWithoutVolume(database: Database, plan: DeliveryPlan, tries: number, options: ResolveOptions): Promise<void> {
  const { workspace, attempt, n } = plan;
  if (workspace.status !== 'removed' || tries < goneTriesMin) {
    throw new Failure('subject', 'VOLUME_UNWRITABLE', 'the volume of the workspace is not there: mount or make it, or remove the workspace');
  }
  await whilePlanned(database, plan, options, 'removal', async (trx) => {
    await replaceReceipts(trx, workspace.workspaceId, [], []);
    await writeHeldItems(trx, workspace, []);
    await writeDelivery(trx, workspace.workspaceId, { present: null, staged: null, applying: null, restartDueAt: null, parkedCode: null });
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'remove', outcome: 'volume gone',
      attempt, causedBy: workspace.eventId, detail: { releases: plan.delivery.held.map(nameOf), tries },
    }]);
    await noteOutcome(trx, attempt, { outcome: 'removed', detail: 'volume gone' });
    await closeAttempts(trx, workspace.workspaceId, { upTo: attempt });
    await settleClaim(trx, workspace.workspaceId, attempt, n);
  });
}

/**
 * Said of a box before it has done it: what has to go is pending until its receipt came (C13). Once for each lapse, however
 * often the box begins.
 */
export async function announceRemovalPending(trx: Transaction, plan: DeliveryPlan, assetsVersion: number): Promise<void> {
  const { decision, delivery, workspace: { workspaceId } } = plan;
  const lapses = removedNow(decision).filter((lapse) => !delivery.lapsesAnnounced.includes(pendingName(lapse)));
  if (lapses.length === 0) return;
  const announcer = await Announcer.open(trx, plan, assetsVersion);
  await announcer.revoked(lapses, 'removal_pending');
  await writeDelivery(trx, workspaceId, {
    lapsesAnnounced: [...delivery.lapsesAnnounced, ...lapses.map(pendingName)],
    // The last word is no outcome any more (I6); in a boot that goes on it is still what the boot goes by (C11).
    ...(decision.act === 'remove' && decision.asksForRestart && { announced: null }),
    assetsVersion: announcer.assetsVersion,
  });
}

function removedNow(decision: DeliveryPlan['decision']): readonly Lapse[] {
  if (decision.act === 'remove') return decision.lapses;
  return decision.act === 'boot' ? decision.denied : [];
}

/** Not the name of the lapse itself: that it is done has to be said too. */
const pendingName = (lapse: Lapse): string => `${lapseName(lapse)} pending`;

function without<R extends ReleaseRef>(releases: readonly R[], gone: readonly ReleaseRef[]): R[] {
  return releases.filter((release) => !gone.some((other) => nameOf(other) === nameOf(release)));
}

function withoutReleases(present: HeldSet | null, gone: readonly ReleaseRef[]): HeldSet | null {
  if (present === null) return null;
  const items = without(present.items, gone);
  return { items, setDigest: setDigest(items) };
}
