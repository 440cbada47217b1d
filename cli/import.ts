import { Failure } from '../process/failure.ts';
import { readRows } from '../replay/import/import-rows.ts';
import { applyImport, planImport } from '../replay/import/import-run.ts';
import { readQuery } from '../replay/import/read-query.ts';
import { noteAction } from '../replay/run/operate.ts';
import { loadItems, loadRun } from '../replay/run/runs.ts';
import { runSettings, wireImport, type Importing } from '../wire-runs.ts';
import { command, group, type CommandContext } from './command.ts';
import { exitCodes, type ExitCode } from './exit-codes.ts';
import { driveOptions, endRun } from './runs/drive.ts';
import { operateCommands, reasonOption, runId } from './runs/operate-commands.ts';
import { readInput } from './runs/read-input.ts';
import { runSummary } from './runs/run-text.ts';
import { readSettings } from './settings.ts';

const example = '0f0e3f4c-7a53-4a6e-9d0b-6c2f5b8e1a77';
const open = (): Importing => wireImport(readSettings(runSettings.import));

const plan = command({
  usage: 'plan',
  summary: 'Say which workspaces or entitlements would be minted; change nothing',
  examples: [
    ['import plan --of workspaces --file workspaces.csv --reason "bootstrap"', 'CSV with a header, or one JSON object a line: workspace_id, org_id, runtime, delivery_mode, status'],
    ['import plan --of entitlements --file lines.jsonl --reason "bootstrap"', 'org_id, item_id, purchase_id, source, policy, valid_from, valid_until'],
    ['import plan --of workspaces --query "select id as workspace_id, org_id, engine as runtime from workspaces" --reason "bootstrap"', "a query on the control plane's database, which may read only"],
  ],
  options: (yargs) => yargs
    .option('of', { choices: ['workspaces', 'entitlements'] as const, demandOption: true, describe: 'What the rows are' })
    .option('file', { type: 'string', describe: 'CSV or JSON lines; - for standard input' })
    .option('query', { type: 'string', describe: "SQL on the control plane's database" })
    .conflicts('file', 'query')
    .option('reason', reasonOption),
  run: async ({ of, file, query, reason }, { output }) => {
    if (file === undefined && query === undefined) throw new Failure('input', 'USAGE', 'Where from? Give --file or --query');
    await using own = open();
    const source = query === undefined ? readRows(await readInput(file ?? '-')) : { rows: await readQuery(own.deps.controlPlane, query), faults: [] };
    const run = await planImport(own.deps, { of, ...source, reason });
    const left = (await loadItems(own.deps.database, run.runId, { limit: 10_000 })).filter(({ state }) => state === 'skipped');
    output.result({ ...runSummary(run), plan: run.plan, left: left.map(({ line, subject, code }) => ({ line, subject, code })) }, () => [
      `plan ${run.runId} (${run.planHash.slice(0, 12)}); nothing was changed`,
      `  would mint ${run.total - run.skipped} of ${run.total} ${of}`,
      ...left.slice(0, 20).map(({ line, subject, code }) => `  line ${line} ${subject}: ${code ?? ''}, left as it is`),
      `  do it      waybill import apply ${run.runId} --reason "…"`,
    ].join('\n'));
    return run.total === run.skipped ? exitCodes.nothingMatched : exitCodes.ok;
  },
});

const apply = command({
  usage: 'apply <run>',
  summary: 'Mint what a plan says, through the producers',
  examples: [[`import apply ${example} --reason "plan read"`, 'each row in its own transaction with its events; a second time mints nothing']],
  options: (yargs) => yargs.positional('run', runId).option('reason', reasonOption),
  run: async ({ run: id, reason }, context) => {
    await using own = open();
    await noteAction(own.deps.database, await loadRun(own.deps.database, id, ['import']), 'apply', reason);
    return await go(own, id, context);
  },
});

const go = async (own: Importing, id: string, context: CommandContext): Promise<ExitCode> =>
  endRun(await applyImport(own.deps, id, driveOptions(context, own.measuring)), 'import', context, [`see      waybill import show ${id}`]);

export const importCommands = group('import', 'Take in what was there before waybill', [
  plan, apply,
  ...operateCommands({
    word: 'import', kinds: ['import'],
    resume: async (run, context) => {
      await using own = open();
      return await go(own, run.runId, context);
    },
  }),
]);
