import { appendAudit } from '../process/audit.ts';
import { readClock } from '../entitlements/sql.ts';
import type { Database, Transaction } from '../process/database.ts';
import { deferClaim } from '../process/pending.ts';
import type { Code } from '../schemas/codes.ts';
import { Announcer } from './announce.ts';
import { sameOutcome, withDrift, type Outcome } from './decide.ts';
import { noteOutcome, replaceReceipts, writeDelivery, writeHeldItems, type DeliveryChange, type LockedWorkspace } from './delivery-rows.ts';
import { newLapses, settleParked } from './park.ts';
import { filesOf, type DeliveryPlan, type PlannedFile, type ResolveOptions } from './resolve-template-assets.ts';
import { whilePlanned, type Step } from './while-planned.ts';

/** What is on the volume after *apply* and a probe that found every file of the set, or the user's in its place. */
export interface Delivered {
  /** Paths where a file of the user stands instead of ours, sorted (C8). */
  readonly kept: readonly string[];
  /** Those of them that are edits of what we had delivered there. */
  readonly edited: readonly string[];
  /** The folders of ours that stand now. */
  readonly directories: readonly string[];
  /** Which attempt this is in the row of tries, from 1. */
  readonly attempts: number;
}

/**
 * *finish*: still current and still entitled → receipts, present and the outcome are what the probe has read, and the
 * outcome is announced when it is news (C9, C10, I7). The pending row goes when the folder of the attempt is in order.
 */
export async function finish(database: Database, plan: DeliveryPlan, delivered: Delivered, options: ResolveOptions): Promise<Step> {
  return await whilePlanned(database, plan, options, 'finish', async (trx, locked) => {
    const { decision } = plan;
    if (decision.act !== 'boot' && decision.act !== 'confirm') return;
    const outcome = probedOutcome(plan, decision.outcome, delivered);
    const present = decision.act === 'boot' ? await recordPresent(trx, plan, delivered) : {};
    await announceFinished(trx, plan, locked, outcome, delivered, present);
  });
}

/** The end of an attempt that only threw a staged tree away: as parking, under the same locks. */
export async function finishParked(database: Database, plan: DeliveryPlan, attempts: number, options: ResolveOptions): Promise<Step> {
  return await whilePlanned(database, plan, options, 'park', async (trx, locked) => {
    await settleParked(trx, plan, locked.assetsVersion, attempts);
  });
}

/** Ready only when every identity file is ours, digest for digest; a file of the user there is a CONFLICT (C8, C9). */
function probedOutcome(plan: DeliveryPlan, planned: Outcome, delivered: Delivered): Outcome {
  const taken = takenIdentityFile(plan, delivered);
  if (planned.kind === 'rejected' || taken === undefined) return planned;
  return { ...planned, kind: 'rejected', code: 'CONFLICT', itemId: taken.itemId };
}

/** The first identity file in whose place a file of the user stands. */
const takenIdentityFile = (plan: DeliveryPlan, delivered: Delivered): PlannedFile | undefined =>
  filesOf(plan).find((file) => file.identity && delivered.kept.includes(file.path));

/** Out: what the delivery row has to say of it. */
async function recordPresent(trx: Transaction, plan: DeliveryPlan, delivered: Delivered): Promise<DeliveryChange> {
  const { workspace, wanted } = plan;
  const kept = new Set(delivered.kept);
  const edited = new Set(delivered.edited);
  const ours = filesOf(plan).filter((file) => !kept.has(file.path) || edited.has(file.path));
  await replaceReceipts(trx, workspace.workspaceId, ours, delivered.directories);
  await writeHeldItems(trx, workspace, wanted.items.map((item) => item.itemId));
  return {
    present: {
      setDigest: wanted.setDigest,
      items: wanted.items.map(({ itemId, version, archiveSha256 }) => ({ itemId, version, archiveSha256 })),
    },
    applying: null,
  };
}

async function announceFinished(
  trx: Transaction, plan: DeliveryPlan, locked: LockedWorkspace, outcome: Outcome, delivered: Delivered, present: DeliveryChange,
): Promise<void> {
  const { workspace, delivery, decision, attempt } = plan;
  const announcer = await Announcer.open(trx, plan, locked.assetsVersion);
  if (decision.act === 'boot') await announcer.revoked(newLapses(plan, decision.lapses), 'removed');
  const isNews = !sameOutcome(delivery.announced, outcome);
  if (isNews) await announcer.outcome(outcome, delivered.kept, delivered.attempts);
  const code: Code | null = outcome.code;
  await writeDelivery(trx, workspace.workspaceId, {
    ...present,
    restartDueAt: null,
    lapsesAnnounced: [],
    probeDue: false,
    probedAt: new Date(announcer.occurredAt),
    ...(isNews ? { announced: outcome } : {}), assetsVersion: announcer.assetsVersion, parkedCode: code,
  });
  await appendAudit(trx, [{
    subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'deliver', outcome: outcome.kind,
    code: code ?? undefined, attempt, causedBy: workspace.eventId,
    detail: { setDigest: outcome.setDigest, epoch: outcome.epoch, generation: outcome.generation, kept: delivered.kept.length },
  }]);
  const taken = code === 'CONFLICT' ? takenIdentityFile(plan, delivered) : undefined;
  await noteOutcome(trx, attempt, { outcome: outcome.kind, code, ...(taken && { detail: `a file of the user stands at ${taken.path}` }) });
}

/** Drift: what is present is unknown from now on, which counts as different and is mended the way any difference is (C9). */
export async function recordDrift(database: Database, plan: DeliveryPlan, path: string, options: ResolveOptions): Promise<Step> {
  const step = await whilePlanned(database, plan, options, 'drift', async (trx) => {
    const { workspace, delivery, wanted, attempt, n } = plan;
    const now = new Date(await readClock(trx));
    await writeDelivery(trx, workspace.workspaceId, { present: null, drifted: withDrift(delivery, workspace, wanted.setDigest), probeDue: false, probedAt: now });
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'probe', outcome: 'drift', code: 'MISSING_ASSETS',
      attempt, causedBy: workspace.eventId, detail: { setDigest: wanted.setDigest, path },
    }]);
    await noteOutcome(trx, attempt, { outcome: 'drift', code: 'MISSING_ASSETS', detail: `${path} is not there any more` });
    await deferClaim(trx, { workspaceId: workspace.workspaceId, attempt, n }, 0, false);
  });
  return step === 'done' ? 'replan' : step;
}
