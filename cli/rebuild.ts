import type { Difference } from '../replay/rebuild/compare.ts';
import { planRebuild, type RebuildPlan } from '../replay/rebuild/plan-rebuild.ts';
import { repairRebuild } from '../replay/rebuild/repair.ts';
import { noteAction } from '../replay/run/operate.ts';
import { loadItems, loadRun, type Run, type RunItem } from '../replay/run/runs.ts';
import { runSettings, wireReplay, type Replaying } from '../wire-runs.ts';
import { command, group, type CommandContext } from './command.ts';
import { exitCodes, type ExitCode } from './exit-codes.ts';
import { driveOptions, endRun } from './runs/drive.ts';
import { operateCommands, reasonOption, runId } from './runs/operate-commands.ts';
import { runSummary } from './runs/run-text.ts';
import { readSettings } from './settings.ts';

const example = '0f0e3f4c-7a53-4a6e-9d0b-6c2f5b8e1a77';
const open = (): Replaying => wireReplay(readSettings(runSettings.replay), 'rebuild');
/** Differing rows that are printed; the rest is in the run. */
const shownMax = 50;

const plan = command({
  usage: 'plan',
  summary: 'Fold the whole log into shadow tables and compare them with the live ones, digest for digest',
  examples: [['rebuild plan --reason "monthly check"', 'every row that differs, with both sides; exit 4 when there is one']],
  options: (yargs) => yargs.option('reason', reasonOption),
  run: async ({ reason }, { output }) => {
    await using own = open();
    const run = await planRebuild(own.deps, reason, (line) => { output.note(line); });
    const items = await loadItems(own.deps.database, run.runId, { limit: shownMax });
    output.result({ ...runSummary(run), plan: run.plan, differences: items.map(({ plan: one }) => one) }, () => planText(run, items));
    return run.total > 0 ? exitCodes.partial : exitCodes.ok;
  },
});

function planText(run: Run, items: readonly RunItem[]): string {
  const { events, unreadable, perSecond, tables, hasMore, moving } = run.plan as RebuildPlan; // a plan of this kind
  return [
    `plan ${run.runId} (${run.planHash.slice(0, 12)}); the live tables were not changed`,
    `  folded   ${events} events at ${perSecond}/s, ${unreadable} records cannot be read`,
    ...Object.entries(tables).map(([table, { rows, ranges, differingRanges }]) => `  ${table.padEnd(18)} ${rows} rows in ${ranges} ranges of keys, ${differingRanges} differ`),
    `  differing ${run.total}${hasMore ? ' and more' : ''}${moving > 0 ? `; ${moving} kept changing and were not judged` : ''}`,
    ...items.flatMap(({ plan: one }) => differenceText(one as Difference)), // a plan of this kind
    ...(run.total === 0 ? [] : [`  repair   waybill rebuild apply ${run.runId} --reason "…"`]),
  ].join('\n');
}

const differenceText = ({ table, key, live, log }: Difference): string[] => [
  `  ${table} ${key}`, `    live ${live === null ? 'is not there' : JSON.stringify(live)}`, `    log  ${log === null ? 'is not there' : JSON.stringify(log)}`,
];

const apply = command({
  usage: 'apply <run>',
  summary: 'Repair the rows that a rebuild found wrong, each only where it is still what was found',
  examples: [[`rebuild apply ${example} --reason "differences read"`, 'by compare-and-set on the digest of the live row; what depends on it is announced and woken']],
  options: (yargs) => yargs.positional('run', runId).option('reason', reasonOption),
  run: async ({ run: id, reason }, context) => {
    await using own = open();
    await noteAction(own.deps.database, await loadRun(own.deps.database, id, ['rebuild']), 'apply', reason);
    return await go(own, id, context);
  },
});

const go = async (own: Replaying, id: string, context: CommandContext): Promise<ExitCode> =>
  endRun(await repairRebuild(own.deps.database, id, driveOptions(context, own.measuring)), 'rebuild', context, ['check    waybill rebuild plan --reason "…"']);

export const rebuildCommands = group('rebuild', 'Hold the projection against the log', [
  plan, apply,
  ...operateCommands({
    word: 'rebuild', kinds: ['rebuild'],
    resume: async (run, context) => {
      await using own = open();
      return await go(own, run.runId, context);
    },
  }),
]);
