import { pinsOf } from '../../replay/backfill/apply-backfill.ts';
import type { Coverage } from '../../replay/backfill/coverage.ts';
import type { VerifiedRun } from '../../replay/backfill/verify-backfill.ts';
import type { Run } from '../../replay/run/runs.ts';
import { table } from '../output.ts';

const byCode = (counts: Readonly<Record<string, number>>): string[] => Object.entries(counts).map(([code, count]) => `             ${count} ${code}`);

/** A plan, and what to do with it. */
export function backfillText(run: Run, coverage: Coverage): string {
  const pins = pinsOf(run);
  return [
    `plan ${run.runId} (${run.planHash.slice(0, 12)}); nothing was changed`,
    `  would tag  ${coverage.left} of ${coverage.total} workspaces`,
    `  already    ${coverage.alreadySet}`,
    ...byCode(coverage.skipped),
    ...pins.map(({ item, version, archiveSha256 }) => `  release    ${item}@${version}  ${archiveSha256}`),
    `  look       waybill backfill show ${run.runId}`,
    ...(coverage.left === 0 ? [] : [`  canary     waybill backfill apply ${run.runId} --canary <one full workspace id> --reason "…"`]),
  ].join('\n');
}

/** What was done, of how many. */
export function coverageText(run: Run, coverage: Coverage): string {
  const { total, tagged, alreadySet, left, skipped, failed, ready } = coverage;
  const sum = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((all, count) => all + count, 0);
  return [
    `${run.kind} ${run.runId}, ${run.state}`,
    `  ${run.kind === 'rollback' ? 'taken back ' : 'tagged     '}${tagged} of ${total}`,
    ...(run.kind === 'backfill' ? [`  ready      ${ready}`] : []),
    `  already    ${alreadySet}`,
    `  skipped    ${sum(skipped)}`, ...byCode(skipped),
    `  failed     ${sum(failed)}`, ...byCode(failed),
    `  left       ${left}`,
  ].join('\n');
}

export function verifiedText({ counts, canaries, workspaces }: VerifiedRun, missing: readonly string[]): string {
  return [
    Object.entries(counts).map(([verdict, count]) => `${verdict} ${count}`).join(' · '),
    ...canaries.map(({ item, version, workspace }) => `canary     ${item}@${version} is ready at ${workspace}`),
    ...missing.map((pin) => `canary     none yet for ${pin}`),
    ...(workspaces.length === 0 ? [] : [table(['workspace', 'verdict', 'template', 'wanted', 'present', 'said'], workspaces.map((one) => ({
      workspace: one.workspace, verdict: one.verdict, template: one.template, wanted: one.wanted, present: one.present.join(' ') || null,
      said: one.announced === null ? null : `${one.announced.kind}, epoch ${one.announced.epoch}`,
    })))]),
  ].join('\n');
}
