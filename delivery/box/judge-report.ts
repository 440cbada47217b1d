import { Failure } from '../../process/failure.ts';
import type { Code } from '../../schemas/codes.ts';
import type { Sha256 } from '../../schemas/ids.ts';
import { applyScope } from '../apply-scope.ts';
import type { Receipts } from '../delivery-rows.ts';
import { filesOf, type DeliveryPlan } from '../resolve-template-assets.ts';
import type { AsideRecord, KeptFile } from '../volume/volume-work.ts';

/** What a box says it has done and read. */
export interface BoxReport {
  readonly attempt: number;
  /** What was read from each path of the set; null: no regular file there. */
  readonly files: readonly { readonly path: string; readonly sha256: Sha256 | null }[];
  readonly kept: readonly KeptFile[];
  readonly removed: readonly string[];
  readonly directories: readonly string[];
  readonly rescued: { readonly returned: readonly string[]; readonly kept: readonly KeptFile[] };
  readonly failed: { readonly code: Code; readonly path: string | null } | null;
}

/** What is on record of the attempt, to hold a report against. */
export interface ReportGround {
  readonly receipts: Receipts;
  readonly aside: AsideRecord | null;
  /** Paths that had receipts before the permit. */
  readonly receiptPaths: readonly string[];
}

/** A report that agrees with its plan, as *finish* and the others take it. */
export interface JudgedReport {
  /** Paths of the set where a file of the user stands, sorted. */
  readonly kept: readonly string[];
  readonly edited: readonly string[];
  /** Paths of the set where nothing stands: only where nothing was to be changed. */
  readonly missing: readonly string[];
  readonly removed: readonly string[];
  readonly directories: readonly string[];
  /** Files of the user that went to kept/. */
  readonly movedAway: number;
}

/**
 * Holds a report against the plan of its attempt: every file of the set is reported once, with the digest of the plan or as the
 * user's; everything that had to go is gone; no folder is called ours that could not be (C8, C9, I7).
 * @throws Failure input REPORT_REFUSED
 */
export function judgeReport(plan: DeliveryPlan, ground: ReportGround, report: BoxReport): JudgedReport {
  const { act } = plan.decision;
  const userPaths = new Set(report.kept.flatMap((file) => (file.path === null ? [] : [file.path])));
  const { kept, missing } = judgeFiles(plan, report, userPaths);
  const scope = applyScope(plan, ground.receipts);
  const left = scope.removal.find((path) => !report.removed.includes(path));
  if (left !== undefined) throw refused(`${JSON.stringify(left)} had to go and is not among what was removed`);
  const ours = new Set([...ground.receipts.directories, ...ground.aside?.directories ?? [], ...ground.aside?.making ?? []]);
  const strange = report.directories.find((path) => !ours.has(path));
  if (strange !== undefined && act !== 'stage' && act !== 'park') throw refused(`the folder ${JSON.stringify(strange)} is none that waybill made or was permitted to make`);
  const before = new Set(ground.receiptPaths);
  return {
    kept, missing, edited: kept.filter((path) => before.has(path)), removed: scope.removal, directories: [...new Set(report.directories)],
    movedAway: report.kept.filter((file) => file.movedTo !== null).length,
  };
}

function judgeFiles(plan: DeliveryPlan, report: BoxReport, userPaths: ReadonlySet<string>): { kept: string[]; missing: string[] } {
  const reported = new Map(report.files.map((file) => [file.path, file.sha256]));
  if (reported.size !== report.files.length) throw refused('it names a file twice');
  const { decision } = plan;
  const planned = filesOf(plan).filter((file) => decision.act !== 'confirm' || decision.probes === 'all' || file.identity);
  const paths = new Set(planned.map((file) => file.path));
  const stranger = report.files.find((file) => !paths.has(file.path));
  if (stranger !== undefined) throw refused(`${JSON.stringify(stranger.path)} is no file of the set`);
  const kept: string[] = [];
  const missing: string[] = [];
  for (const { path, sha256 } of planned) {
    const found = reported.get(path);
    if (found === undefined) throw refused(`it says nothing of ${JSON.stringify(path)}`);
    if (found === sha256) continue;
    if (userPaths.has(path)) kept.push(path);
    else if (decision.act === 'confirm' && found === null) missing.push(path);
    else throw refused(`what was read at ${JSON.stringify(path)} is neither the file of the set nor said to be the user's`);
  }
  return { kept: kept.toSorted(), missing };
}

const refused = (reason: string): Failure => new Failure('input', 'REPORT_REFUSED', `The report is not that of its plan: ${reason}. Nothing is recorded.`);
