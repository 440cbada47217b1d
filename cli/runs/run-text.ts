import { etaMs, progressLine } from '../../replay/run/progress.ts';
import type { Run } from '../../replay/run/runs.ts';

/** What is shown of a run as JSON: no row of the database as it is. */
export function runSummary(run: Run): Record<string, unknown> {
  const { runId, kind, state, reason, planHash, controls, holder, total, ok, failed, skipped, throttled, stoppedBy } = run;
  return {
    run: runId, kind, state, reason, planHash, controls, holder, total, ok, failed, skipped, throttled, stoppedBy,
    createdAt: run.createdAt.toISOString(), startedAt: run.startedAt?.toISOString() ?? null, endedAt: run.endedAt?.toISOString() ?? null,
  };
}

/** The one line of a run as it is stored; whoever runs it knows its rate better. */
export function runLine(run: Run): string {
  const { total, ok, failed, skipped, throttled, startedAt, endedAt } = run;
  const done = ok + failed + skipped;
  const until = endedAt ?? new Date();
  const perSecond = startedAt === null ? 0 : done / Math.max((until.getTime() - startedAt.getTime()) / 1000, 1);
  return `${run.state} · ${progressLine({ total, ok, failed, skipped, perSecond, lagMs: 0, throttled, etaMs: etaMs({ left: total - done, perSecond }) })}`;
}

/** A run in words. */
export function describeRun(run: Run): string {
  const { rate, lagSeconds, databaseMs, restartsPerHour } = run.controls;
  return [
    `${run.kind} ${run.runId}, ${run.state}: ${run.reason}`,
    `  plan     ${run.planHash}`,
    `  progress ${runLine(run)}`,
    `  controls rate ${rate}/s, lag ${lagSeconds} s, database ${databaseMs} ms, restarts ${restartsPerHour}/h`,
    ...(run.holder === null ? [] : [`  run by   ${run.holder}`]),
    ...(run.stoppedBy === null ? [] : [`  stopped  ${run.stoppedBy}`]),
  ].join('\n');
}
