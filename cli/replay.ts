import { applyReplay, type ReplayCheckpoint } from '../replay/log/apply-replay.ts';
import { planReplay, type ReplayPlan } from '../replay/log/plan-replay.ts';
import { parseBound, replayable } from '../replay/log/replay-request.ts';
import { noteAction } from '../replay/run/operate.ts';
import { loadRun, type Run } from '../replay/run/runs.ts';
import { parseInteger, parseItemId, parseOrgId, parseWorkspaceId } from '../schemas/ids.ts';
import { runSettings, wireReplay, type Replaying } from '../wire-runs.ts';
import { command, group, type CommandContext } from './command.ts';
import type { ExitCode } from './exit-codes.ts';
import { table } from './output.ts';
import { driveOptions, endRun } from './runs/drive.ts';
import { controlOptions, controlsOf, operateCommands, reasonOption, runId } from './runs/operate-commands.ts';
import { describeRun, runSummary } from './runs/run-text.ts';
import { readSettings } from './settings.ts';

const example = '0f0e3f4c-7a53-4a6e-9d0b-6c2f5b8e1a77';
const open = (): Replaying => wireReplay(readSettings(runSettings.replay), 'replay');

const plan = command({
  usage: 'plan',
  summary: 'Read a range of the log and say what its events would change; change nothing',
  examples: [
    ['replay plan --topic marketplace.entitlements --from 2026-11-20T00:00:00Z --reason "after the outage"', 'everything since'],
    ['replay plan --topic controlplane.workspaces --partition 3 --from 1200 --to 1300 --reason "look at these"', 'offsets of one partition'],
    ['replay plan --topic marketplace.entitlements --org 7c9e6679-7425-40de-944b-e07fc1f90ae7 --item seo-agent --reason "one customer"', 'what concerns one org and item'],
  ],
  options: (yargs) => yargs
    .option('topic', { choices: replayable, demandOption: true, describe: 'Which log' })
    .option('from', { type: 'string', describe: 'A time, or an offset with --partition; the beginning when left out' })
    .option('to', { type: 'string', describe: 'A time, or an offset with --partition, which is not read any more; what stands there now when left out' })
    .option('partition', { type: 'number', describe: 'Only this one' })
    .option('key', { type: 'string', describe: 'Only records with exactly this key' })
    .option('org', { type: 'string', describe: 'Only events of this org' })
    .option('item', { type: 'string', describe: 'Only events that name this item' })
    .option('workspace', { type: 'string', describe: 'Only events of this workspace' })
    .options(controlOptions)
    .option('reason', reasonOption),
  run: async ({ topic, from, to, partition, key, org, item, workspace, reason, rate, lag, dbMs, restarts }, { output }) => {
    const request = {
      topic, reason, controls: controlsOf({ rate, lag, dbMs, restarts }),
      from: from === undefined ? undefined : parseBound(from, '--from'), to: to === undefined ? undefined : parseBound(to, '--to'),
      partition: partition === undefined ? undefined : parseInteger(partition, 'partition', 0, 100_000, 'the number of a partition'),
      filter: {
        key, org: org === undefined ? undefined : parseOrgId(org, 'org'), item: item === undefined ? undefined : parseItemId(item, 'item'),
        workspace: workspace === undefined ? undefined : parseWorkspaceId(workspace, 'workspace'),
      },
    };
    await using own = open();
    const run = await planReplay(own.deps, request);
    output.result({ ...runSummary(run), plan: run.plan }, () => planText(run));
  },
});

function planText(run: Run): string {
  const { outlook, spans } = run.plan as ReplayPlan; // a plan of this kind
  return [
    `plan ${run.runId} (${run.planHash.slice(0, 12)}); nothing was changed`,
    `  read       ${outlook.read} records of ${spans.length} partitions, ${outlook.matched} match, ${outlook.unreadable} cannot be read`,
    `  stale      ${outlook.stale}`, `  duplicate  ${outlook.duplicate}`, `  conflict   ${outlook.conflicting}`,
    `  would change ${outlook.changedKeys} lines or records by ${outlook.wouldChange} events`,
    ...Object.entries(outlook.byType).map(([type, count]) => `             ${count} ${type}`),
    ...(outlook.samples.length === 0 ? [] : [table(['type', 'key', 'version', 'outcome'], outlook.samples)]),
    `  do it      waybill replay apply ${run.runId} --reason "…"`,
  ].join('\n');
}

const apply = command({
  usage: 'apply <run>',
  summary: 'Apply what a plan found, as live traffic would, in a lane of its own',
  examples: [[`replay apply ${example} --reason "plan read"`, 'refused when what would change is no longer what the plan said']],
  options: (yargs) => yargs.positional('run', runId).option('reason', reasonOption),
  run: async ({ run: id, reason }, context) => {
    await using own = open();
    await noteAction(own.deps.database, await loadRun(own.deps.database, id, ['replay']), 'apply', reason);
    return await go(own, id, context);
  },
});

const go = async (own: Replaying, id: string, context: CommandContext): Promise<ExitCode> =>
  endRun(await applyReplay(own.deps, id, driveOptions(context, own.measuring)), 'replay', context, [`see      waybill replay report ${id}`]);

const report = command({
  usage: 'report <run>',
  summary: 'Show what became of the events of a replay; the counts add up',
  examples: [[`replay report ${example}`, 'applied, superseded, duplicate, conflict, unreadable']],
  options: (yargs) => yargs.positional('run', runId),
  run: async ({ run: id }, { output }) => {
    await using own = open();
    const run = await loadRun(own.deps.database, id, ['replay']);
    const { counts = {} } = run.checkpoint as ReplayCheckpoint; // written by this room alone
    output.result({ ...runSummary(run), counts }, () => [describeRun(run), ...Object.entries(counts).map(([name, count]) => `  ${name.padEnd(10)} ${count}`)].join('\n'));
  },
});

export const replayCommands = group('replay', 'Read the log again', [
  plan, apply, report,
  ...operateCommands({
    word: 'replay', kinds: ['replay'],
    resume: async (run, context) => {
      await using own = open();
      return await go(own, run.runId, context);
    },
  }),
]);
