import { setTimeout as delay } from 'node:timers/promises';

import { noteAction, setControls, stopRun } from '../../replay/run/operate.ts';
import { listRuns, loadItems, loadRun, type Run, type RunItem, type RunKind } from '../../replay/run/runs.ts';
import { settingsOf, wireDatabase } from '../../wire.ts';
import { command, type CommandContext, type Mountable } from '../command.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { parseLimit } from '../limit.ts';
import { table } from '../output.ts';
import { readSettings } from '../settings.ts';
import { describeRun, runLine, runSummary } from './run-text.ts';

/** One word of the command line with the runs that it is about. */
export interface RunWord {
  readonly word: string;
  readonly kinds: readonly RunKind[];
  /** Goes on with a run. */
  readonly resume: (run: Run, context: CommandContext) => Promise<ExitCode>;
}

export const runId = { type: 'string', demandOption: true, describe: 'The full id of the run' } as const;
export const reasonOption = { type: 'string', demandOption: true, describe: 'Why, for the audit' } as const;
const example = '0f0e3f4c-7a53-4a6e-9d0b-6c2f5b8e1a77';

/** Options that tune a run, of `plan` and `set`. */
export const controlOptions = {
  rate: { type: 'number', describe: 'Most pieces a second' },
  lag: { type: 'number', describe: 'Wait while live work is older than so many seconds' },
  'db-ms': { type: 'number', describe: 'Wait while the databases take longer than so many milliseconds to answer' },
  restarts: { type: 'number', describe: 'Restarts of online workspaces an hour' },
} as const;

/** Those that were given. */
export function controlsOf(given: { rate: number | undefined; lag: number | undefined; dbMs: number | undefined; restarts: number | undefined }): Record<string, number> {
  const all = { rate: given.rate, lagSeconds: given.lag, databaseMs: given.dbMs, restartsPerHour: given.restarts };
  return Object.fromEntries(Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])));
}

/** What can be done with every kind of run: list, show, status, watch, pause, resume, abort, set. */
export function operateCommands({ word, kinds, resume }: RunWord): Mountable[] {
  const open = () => wireDatabase(readSettings(settingsOf.database), word, 2);

  const list = command({
    usage: 'list',
    summary: 'Show the newest runs',
    examples: [[`${word} list`, 'their state and progress']],
    options: (yargs) => yargs.option('limit', { type: 'number', default: 20, describe: 'At most so many' }),
    run: async ({ limit }, { output }) => {
      await using own = open();
      const runs = await listRuns(own, kinds, parseLimit(limit));
      output.result(runs.map(runSummary), () => (runs.length === 0 ? 'no runs' : table(
        ['run', 'kind', 'progress', 'reason'], runs.map((run) => ({ run: run.runId, kind: run.kind, progress: runLine(run), reason: run.reason.slice(0, 60) })),
      )));
      return runs.length === 0 ? exitCodes.nothingMatched : exitCodes.ok;
    },
  });

  const show = command({
    usage: 'show <run>',
    summary: 'Show a run with its plan and what came of it',
    examples: [[`${word} show ${example}`, 'every item that is not simply done'], [`${word} show ${example} --json`, 'the whole plan, one JSON document']],
    options: (yargs) => yargs.positional('run', runId).option('limit', { type: 'number', default: 100, describe: 'At most so many items' }),
    run: async ({ run: id, limit }, { output }) => {
      await using own = open();
      const run = await loadRun(own, id, kinds);
      const items = await loadItems(own, id, { limit: parseLimit(limit) });
      output.result({ ...runSummary(run), plan: run.plan, checkpoint: run.checkpoint, items }, () => [
        describeRun(run),
        ...(items.length === 0 ? [] : [table(['line', 'subject', 'state', 'code', 'plan'], items.map(itemRow))]),
      ].join('\n'));
    },
  });

  const status = command({
    usage: 'status <run>',
    summary: 'Show where a run stands, in one line',
    examples: [[`${word} status ${example}`, 'counts, rate, why it waits, ETA']],
    options: (yargs) => yargs.positional('run', runId),
    run: async ({ run: id }, { output }) => {
      await using own = open();
      const run = await loadRun(own, id, kinds);
      output.result(runSummary(run), () => runLine(run));
    },
  });

  const watch = command({
    usage: 'watch <run>',
    summary: 'Follow a run until it ends',
    examples: [[`${word} watch ${example}`, 'a line a second; Ctrl-C stops watching, not the run']],
    options: (yargs) => yargs.positional('run', runId),
    run: async ({ run: id }, { output, signal }) => {
      await using own = open();
      for (;;) {
        const run = await loadRun(own, id, kinds);
        output.event(runSummary(run), runLine(run));
        if (run.state !== 'running' && run.holder === null) return;
        await delay(1_000, undefined, { signal });
      }
    },
  });

  const stop = (wish: 'pause' | 'abort', summary: string, meaning: string): Mountable => command({
    usage: `${wish} <run>`,
    summary,
    examples: [[`${word} ${wish} ${example} --reason "support asked"`, meaning]],
    options: (yargs) => yargs.positional('run', runId).option('reason', reasonOption),
    run: async ({ run: id, reason }, { output }) => {
      await using own = open();
      await loadRun(own, id, kinds);
      const run = await stopRun(own, id, wish, reason);
      output.result(runSummary(run), () => (run.holder === null ? `${run.kind} ${id} is ${run.state}` : `${run.holder} is asked to ${wish} it after the piece in hand`));
    },
  });

  const set = command({
    usage: 'set <run>',
    summary: 'Change the rate and the thresholds of a run, also while it goes on',
    examples: [[`${word} set ${example} --rate 50 --restarts 30 --reason "evening peak"`, 'in force within a second']],
    options: (yargs) => yargs.positional('run', runId).options(controlOptions).option('reason', reasonOption),
    run: async ({ run: id, reason, rate, lag, dbMs, restarts }, { output }) => {
      await using own = open();
      await loadRun(own, id, kinds);
      const run = await setControls(own, id, controlsOf({ rate, lag, dbMs, restarts }), reason);
      output.result(runSummary(run), () => describeRun(run));
    },
  });

  const resumeCommand = command({
    usage: 'resume <run>',
    summary: 'Go on with a run that was paused, or whose process died',
    examples: [[`${word} resume ${example} --reason "peak is over"`, 'from its last checkpoint; nothing is done twice']],
    options: (yargs) => yargs.positional('run', runId).option('reason', reasonOption),
    run: async ({ run: id, reason }, context) => {
      await using own = open();
      const run = await loadRun(own, id, kinds);
      await noteAction(own, run, 'resume', reason);
      return await resume(run, context);
    },
  });

  return [list, show, status, watch, stop('pause', 'Let a run rest after the piece in hand', 'it can be resumed'), resumeCommand,
    stop('abort', 'End a run for good; what it did stays', 'it cannot be resumed'), set];
}

const itemRow = ({ line, subject, state, code, plan }: RunItem) => ({ line, subject, state, code, plan: JSON.stringify(plan).slice(0, 80) });
