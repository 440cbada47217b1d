import { Failure } from '../process/failure.ts';
import { createLogger } from '../process/log.ts';
import { applyCanary, applyFleet, canariesOf, pinsOf } from '../replay/backfill/apply-backfill.ts';
import { parseMapping, parseWorkspaceList } from '../replay/backfill/backfill-input.ts';
import { missingCanaries } from '../replay/backfill/canary-gate.ts';
import { planBackfill } from '../replay/backfill/plan-backfill.ts';
import { reportBackfill } from '../replay/backfill/report-backfill.ts';
import { applyRollback, planRollback } from '../replay/backfill/rollback.ts';
import { verifyRun } from '../replay/backfill/verify-backfill.ts';
import type { Driven } from '../replay/run/drive-run.ts';
import { noteAction } from '../replay/run/operate.ts';
import { loadRun, type Run } from '../replay/run/runs.ts';
import { runSettings, wireBackfill, type Backfilling } from '../wire-runs.ts';
import { command, group, type CommandContext } from './command.ts';
import { exitCodes, type ExitCode } from './exit-codes.ts';
import { backfillText, coverageText, verifiedText } from './runs/backfill-text.ts';
import { driveOptions, endRun } from './runs/drive.ts';
import { controlOptions, controlsOf, operateCommands, reasonOption, runId } from './runs/operate-commands.ts';
import { readInput } from './runs/read-input.ts';
import { runSummary } from './runs/run-text.ts';
import { readSettings } from './settings.ts';

const kinds = ['backfill', 'rollback'] as const;
const example = '0f0e3f4c-7a53-4a6e-9d0b-6c2f5b8e1a77';
const workspaceExample = '3f2a0c1e-8d1b-4c52-9a6e-5b2f0d7c4e11';

const open = (): Backfilling => wireBackfill(readSettings(runSettings.backfill));

const plan = command({
  usage: 'plan',
  summary: 'Say which workspaces would get which template; change nothing',
  examples: [
    ['backfill plan --workspaces seo.txt --item seo-agent --reason "tag the SEO workspaces"', 'one full workspace id a line; `-` reads them from standard input'],
    ['backfill plan --workspaces list.csv --mapping entries.csv --reason "tag by manifest entry"', 'lines workspace_id,entry and a recorded mapping entry,item'],
    ['backfill plan --mapping runtimes.csv --reason "tag by runtime"', 'every workspace without a template on exactly the runtimes of a mapping runtime,item'],
  ],
  options: (yargs) => yargs
    .option('workspaces', { type: 'string', describe: 'File of full workspace ids, each with an item or entry behind a comma where they differ; - for standard input' })
    .option('item', { type: 'string', describe: 'The template of every line that names none' })
    .option('mapping', { type: 'string', describe: 'File with the exact mapping entry,item or runtime,item' })
    .options(controlOptions)
    .option('reason', reasonOption)
    .conflicts('item', 'mapping'),
  run: async ({ workspaces, item, mapping, reason, rate, lag, dbMs, restarts }, { output }) => {
    await using own = open();
    const run = await planBackfill(own.deps, {
      item, reason, controls: controlsOf({ rate, lag, dbMs, restarts }),
      ...(workspaces !== undefined && { listed: parseWorkspaceList(await readInput(workspaces)) }),
      ...(mapping !== undefined && { mapping: parseMapping(await readInput(mapping)) }),
    });
    const coverage = await reportBackfill(own.deps.database, run.runId);
    output.result({ ...runSummary(run), plan: run.plan, coverage }, () => backfillText(run, coverage));
    return coverage.left === 0 ? exitCodes.nothingMatched : exitCodes.ok;
  },
});

const apply = command({
  usage: 'apply <run>',
  summary: 'Do what a plan says: a canary first, then the fleet',
  examples: [
    [`backfill apply ${example} --canary ${workspaceExample} --reason "canary"`, 'exactly this workspace; then `backfill verify`, once it has booted'],
    [`backfill apply ${example} --reason "canary is fine"`, 'the rest; refused without a verified canary for the same release'],
  ],
  options: (yargs) => yargs
    .positional('run', runId)
    .option('canary', { type: 'string', describe: 'One full workspace id of the plan' })
    .option('reason', reasonOption),
  run: async ({ run: id, canary, reason }, context) => {
    await using own = open();
    const run = await loadRun(own.deps.database, id, kinds);
    if (canary !== undefined && run.kind === 'rollback') throw new Failure('input', 'USAGE', '--canary is for a backfill: a rollback goes back to what was');
    await noteAction(own.deps.database, run, canary === undefined ? 'apply' : 'canary', reason, canary === undefined ? {} : { canary });
    return await go(own, run, context, canary);
  },
});

async function go(own: Backfilling, run: Run, context: CommandContext, canary?: string): Promise<ExitCode> {
  const options = driveOptions(context, own.measuring);
  const { runId: id } = run;
  let driven: Driven;
  if (run.kind === 'rollback') driven = await applyRollback(own.deps, id, options);
  else if (canary !== undefined) driven = await applyCanary(own.deps, id, canary, options);
  else driven = await applyFleet(own.deps, id, options);
  return endRun(driven, 'backfill', context, canary === undefined
    ? [`see      waybill backfill report ${id}`, ...(run.kind === 'backfill' ? [`verify   waybill backfill verify ${id} --reason "…"`] : [])]
    : [`the canary is tagged; once it has booted: waybill backfill verify ${id} --reason "…"`, `then the fleet: waybill backfill apply ${id} --reason "…"`]);
}

const verify = command({
  usage: 'verify <run>',
  summary: 'Go back to every workspace that a backfill changed, and read its files',
  examples: [[`backfill verify ${example} --reason "after the canary"`, 'ready, waiting or drifted; a mis-tagged one is a security alert with exit code 5']],
  options: (yargs) => yargs.positional('run', runId).option('reason', reasonOption),
  run: async ({ run: id, reason }, { output }) => {
    await using own = open();
    const verified = await verifyRun(own.deps, id, reason);
    const run = await loadRun(own.deps.database, id, kinds);
    const missing = missingCanaries(pinsOf(run), canariesOf(run)).map(({ item, version }) => `${item}@${version}`);
    output.result({ ...verified, canariesMissing: missing }, () => verifiedText(verified, missing));
    if (verified.counts['mis-tagged'] > 0) {
      const log = createLogger('error', 'backfill');
      log.error({ code: 'MIS_TAGGED', run: id, count: verified.counts['mis-tagged'] }, 'security: workspaces carry a template that their identity or the plan contradicts');
      throw new Failure('input', 'MIS_TAGGED', `${verified.counts['mis-tagged']} workspaces of run ${id} are mis-tagged: ${verified.workspaces.filter(({ verdict }) => verdict === 'mis-tagged').map(({ workspace }) => workspace).join(', ')}`);
    }
    return verified.counts.waiting + verified.counts.drifted > 0 ? exitCodes.partial : exitCodes.ok;
  },
});

const report = command({
  usage: 'report <run>',
  summary: 'Show what a backfill or its rollback did and did not do; the counts add up',
  examples: [[`backfill report ${example}`, 'tagged, already set, skipped and failed with why, ready, out of total']],
  options: (yargs) => yargs.positional('run', runId),
  run: async ({ run: id }, { output }) => {
    await using own = open();
    const run = await loadRun(own.deps.database, id, kinds);
    const coverage = await reportBackfill(own.deps.database, id);
    output.result({ ...runSummary(run), coverage }, () => coverageText(run, coverage));
    return coverage.left > 0 || Object.keys(coverage.failed).length > 0 ? exitCodes.partial : exitCodes.ok;
  },
});

const rollback = command({
  usage: 'rollback <run>',
  summary: 'Plan to take back what a backfill set and is still its own',
  examples: [[`backfill rollback ${example} --reason "wrong list"`, 'a plan of its own; `backfill apply` does it']],
  options: (yargs) => yargs.positional('run', runId).option('reason', reasonOption),
  run: async ({ run: id, reason }, { output }) => {
    await using own = open();
    const run = await planRollback(own.deps, id, reason);
    output.result({ ...runSummary(run), of: id }, () => [
      `plan ${run.runId}: ${run.total - run.skipped} of ${run.total} workspaces would lose the template again; ${run.skipped} are not the backfill's own any more`,
      `do it    waybill backfill apply ${run.runId} --reason "…"`,
    ].join('\n'));
  },
});

export const backfillCommands = group('backfill', 'Give existing workspaces their template', [
  plan, apply, verify, report, rollback,
  ...operateCommands({
    word: 'backfill', kinds,
    resume: async (run, context) => {
      await using own = open();
      return await go(own, run, context);
    },
  }),
]);
