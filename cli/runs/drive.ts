import { hostname } from 'node:os';

import type { Driven, DriveOptions } from '../../replay/run/drive-run.ts';
import type { Measuring } from '../../replay/run/measure.ts';
import { progressLine } from '../../replay/run/progress.ts';
import type { CommandContext } from '../command.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { runLine, runSummary } from './run-text.ts';

/** Who runs it, for people who find it held. */
const holder = `${hostname()}:${process.pid}`;

/** How a command holds a run: until Ctrl-C, with a line of progress a second for people. */
export function driveOptions({ output, signal }: CommandContext, measuring: Measuring): DriveOptions {
  return { measuring, holder, signal, report: (progress) => { output.note(progressLine(progress)); } };
}

/** Says how a run ended here, and how it goes on. `next`: what to do once it is done. */
export function endRun({ state, run, failure }: Driven, word: string, { output, signal }: CommandContext, next: readonly string[] = []): ExitCode {
  output.result({ ...runSummary(run), ...(failure !== undefined && { failure: failure.code }) }, () => [
    `${run.kind} ${run.runId}: ${runLine(run)}`,
    ...(state === 'done' || (state === 'paused' && failure === undefined && !signal.aborted) ? next : []),
    ...(state === 'paused' && (signal.aborted || failure !== undefined) ? [`paused; resume with: waybill ${word} resume ${run.runId} --reason "…"`] : []),
  ].join('\n'));
  // What stopped it is told as every failure is, and decides the exit code.
  if (failure !== undefined) throw failure;
  if (state === 'paused' && signal.aborted) return exitCodes.interrupted;
  return state === 'aborted' || run.failed > 0 ? exitCodes.partial : exitCodes.ok;
}
