import { appendAudit } from '../../process/audit.ts';
import { tenantTx, type Transaction } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { readClaim } from '../../process/pending.ts';
import { isCode, type Code } from '../../schemas/codes.ts';
import type { Sha256 } from '../../schemas/ids.ts';
import { finish, finishParked, recordDrift } from '../finish.ts';
import { finishRemoval } from '../removal.ts';
import { filesOf, type DeliveryPlan } from '../resolve-template-assets.ts';
import { recordStaged } from '../staged.ts';
import type { AsideRecord } from '../volume/volume-work.ts';
import type { Step } from '../while-planned.ts';
import { openAttempt, type BoxCaller, type BoxDeps, type OpenAttempt } from './box-caller.ts';
import { failAttempt } from './fail.ts';
import { judgeReport, type BoxReport, type JudgedReport } from './judge-report.ts';
import { isPermitted } from './permit.ts';

/** Why an attempt of a box may have failed. */
export const failureCodes = [
  'VOLUME_FULL', 'VOLUME_UNWRITABLE', 'UNSUPPORTED_VOLUME', 'PATH_REFUSED', 'INTEGRITY_FAILED', 'MANIFEST_INVALID', 'GATE_FIELD', 'TOO_LARGE',
  'MISSING_ASSETS', 'GRANT_EXPIRED', 'UPSTREAM', 'UNAVAILABLE',
] as const satisfies readonly Code[];

/** Codes of failures that pass by themselves or are somebody else's: not the release's or the volume's. */
const dependencies = new Set<Code>(['UPSTREAM', 'UNAVAILABLE']);

export type ReportResult = 'ready' | 'rejected' | 'staged' | 'removed' | 'discarded' | 'drift' | 'failed' | 'permit_expired' | 'replan' | 'superseded';

export interface ReportAnswer {
  readonly result: ReportResult;
  readonly code: Code | null;
  /** Digests of ours that may wait in aside/ for the next fence (I9). */
  readonly mayHold: readonly Sha256[];
}

/** What is on record of an attempt beside its plan. */
interface Recorded extends OpenAttempt {
  readonly tries: number;
  readonly outcome: string | null;
  readonly code: Code | null;
  readonly aside: AsideRecord | null;
  readonly receiptPaths: readonly string[];
  readonly permitted: boolean;
}

/**
 * The report of a box: what it read from its volume becomes what *finish*, *staged* or the removal records, in the same
 * transactions as a worker's. Digests that are not the plan's are refused and put on record (C9, I7). Sent twice, it answers
 * as before.
 * @throws Failure as checkCaller; input REPORT_REFUSED
 */
export async function reportBox(deps: BoxDeps, caller: BoxCaller, report: BoxReport): Promise<ReportAnswer> {
  const recorded = await tenantTx(deps.database, caller.orgId, async (trx) => await readRecorded(trx, caller, report.attempt));
  if (recorded === undefined) return plain('superseded');
  const { plan } = recorded;
  if (recorded.outcome !== null) return repeated(recorded);
  if (report.failed !== null) {
    const { code, path } = report.failed;
    const at = path === null ? '' : ` at ${JSON.stringify(path)}`;
    await failAttempt(deps, plan, new Failure(dependencies.has(code) ? 'dependency' : 'subject', code, `the agent in the workspace reports ${code}${at}`));
    return plain('failed', code);
  }
  let judged: JudgedReport;
  try {
    judged = judgeReport(plan, recorded, report);
  } catch (error) {
    if (error instanceof Failure && error.code === 'REPORT_REFUSED') await recordRefusal(deps, plan, error);
    throw error;
  }
  await recordRescued(deps, plan, report);
  const needsPermit = plan.decision.act === 'boot' || plan.decision.act === 'remove';
  if (needsPermit && !recorded.permitted) return plain('permit_expired');
  const step = await settleReport(deps, recorded, judged);
  if (step === 'superseded' || step === 'replan') return plain(step);
  return await tenantTx(deps.database, caller.orgId, async (trx) => {
    const now = await readRecorded(trx, caller, report.attempt);
    // Earlier releases are no longer among the receipts now, but their copies may wait.
    return now === undefined ? plain('superseded') : { ...repeated(now), mayHold: mayHold(recorded) };
  });
}

async function settleReport({ database, options }: BoxDeps, { plan, receipts, tries }: Recorded, judged: JudgedReport): Promise<Step> {
  const attempts = tries + 1;
  switch (plan.decision.act) {
    case 'boot':
      return await finish(database, plan, { ...judged, attempts }, options);
    case 'confirm':
      if (judged.missing[0] !== undefined) {
        const step = await recordDrift(database, plan, judged.missing[0], options);
        return step === 'replan' ? 'done' : step; // a drift that is recorded makes the workspace due; the outcome says so
      }
      return await finish(database, plan, { kept: judged.kept, edited: judged.kept, directories: receipts.directories, attempts }, options);
    case 'stage':
      return await recordStaged(database, plan, options.settleWindowMs, options);
    case 'remove':
      return await finishRemoval(database, plan, { paths: judged.removed, directories: judged.directories, kept: judged.movedAway }, options);
    case 'park':
      return await finishParked(database, plan, attempts, options);
    case 'ask':
      throw new Failure('fault', 'FAULT', 'a restart is asked for in the transaction of start');
  }
}

/** Undefined: not an attempt of the caller's, or another has taken over. */
async function readRecorded(trx: Transaction, caller: BoxCaller, attempt: number): Promise<Recorded | undefined> {
  const open = await openAttempt(trx, caller, attempt);
  if (open === undefined) return undefined;
  const claim = await readClaim(trx, caller.workspaceId, attempt);
  const { rows: [row] } = await trx.raw<{ rows: { outcome: string | null; code: string | null; aside: AsideRecord | null; receipt_paths: string[] | null }[] }>(
    'select outcome, code, aside, receipt_paths from attempts where attempt = ?', [attempt],
  );
  if (row === undefined) return undefined;
  return {
    ...open, tries: claim?.tries ?? 0, outcome: row.outcome, code: row.code !== null && isCode(row.code) ? row.code : null,
    aside: row.aside, receiptPaths: row.receipt_paths ?? [], permitted: await isPermitted(trx, { attempt }),
  };
}

/** What an attempt that has its outcome is answered with, the first time and every other. */
function repeated(recorded: Recorded): ReportAnswer {
  switch (recorded.outcome) {
    case 'ready': case 'rejected': case 'staged': case 'drift':
      return { result: recorded.outcome, code: recorded.code, mayHold: mayHold(recorded) };
    case 'restart-requested':
      return { result: 'staged', code: null, mayHold: mayHold(recorded) };
    case 'removed':
      return plain('removed');
    case 'parked':
      return plain('discarded', recorded.code);
    case 'failed':
      return plain('failed', recorded.code);
    case 'replanned':
      return plain('replan');
    case null:
    default:
      return plain('superseded');
  }
}

const plain = (result: ReportResult, code: Code | null = null): ReportAnswer => ({ result, code, mayHold: [] });

/** Of the wanted set, and of earlier releases of its items: what a late writer did to those is judged by the next fence. */
function mayHold({ plan, receipts }: Recorded): Sha256[] {
  if (plan.decision.act === 'remove' || plan.decision.act === 'park') return [];
  const items = new Set(plan.wanted.items.map((item) => item.itemId));
  const held = receipts.files.filter((receipt) => items.has(receipt.itemId));
  return [...new Set([...filesOf(plan), ...held].map((file) => file.sha256))];
}

/** Somebody has to look at it: a box that reports other bytes than it was given is broken, or not ours (C9). */
async function recordRefusal({ database }: BoxDeps, { workspace, attempt }: DeliveryPlan, failure: Failure): Promise<void> {
  await tenantTx(database, workspace.orgId, async (trx) => {
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'report', outcome: 'deny', code: failure.code,
      attempt, causedBy: workspace.eventId, detail: { message: failure.message },
    }]);
  });
}

async function recordRescued({ database }: BoxDeps, { workspace, attempt }: DeliveryPlan, { rescued }: BoxReport): Promise<void> {
  if (rescued.returned.length + rescued.kept.length === 0) return;
  await tenantTx(database, workspace.orgId, async (trx) => {
    await appendAudit(trx, [{
      subjectKind: 'workspace', subjectId: workspace.workspaceId, orgId: workspace.orgId, action: 'fence', outcome: 'rescued', attempt,
      detail: { returned: rescued.returned.slice(0, 100), kept: rescued.kept.slice(0, 100) },
    }]);
  });
}

