import yargs, { type Argv } from 'yargs';

import { asFailure, Failure } from '../process/failure.ts';
import { FieldError } from '../schemas/ids.ts';
import type { CommandContext, Examples, GlobalOptions, Mountable, Mounting } from './command.ts';
import { exitCodes, type ExitCode } from './exit-codes.ts';
import { Output, type Streams } from './output.ts';
import { version } from './version.ts';

export interface CommandLine {
  readonly commands: readonly Mountable[];
  readonly streams: Streams;
  /** Aborts when the person asks to stop. */
  readonly signal: AbortSignal;
  readonly width?: number | undefined;
}

/** yargs makes a list of an option that is given twice; one that takes a single value would be mistaken for nonsense. */
function refuseRepeats(args: Readonly<Record<string, unknown>>, { array = [] }: { readonly array?: readonly string[] }): true {
  const repeated = Object.keys(args).find((name) => name !== '_' && Array.isArray(args[name]) && !array.includes(name));
  if (repeated !== undefined) throw usage(`--${repeated} was given more than once`);
  return true;
}

/** What the help of the whole shows. */
const firstSteps: Examples = [['dev', 'everything on this machine, and a story'], ['explain <workspace>', 'why it is ready or not'], ['publish --help', 'options and examples of one command']];

/** The parser with every command mounted, before it has read anything. */
function buildParser(commands: readonly Mountable[], mounting: Mounting, width: number | null) {
  const globals = yargs()
    .scriptName('waybill')
    .usage('$0 <command>\n\nDelivers marketplace templates and plugins to agent workspaces. `waybill --version` says which this is.')
    .option('json', { type: 'boolean', default: false, describe: 'Write JSON and nothing else', global: true })
    .option('debug', { type: 'boolean', default: false, describe: 'Show where an error came from', global: true })
    .locale('en')
    .parserConfiguration({ 'parse-numbers': false, 'parse-positional-numbers': false })
    .check(refuseRepeats, true);
  return commands.reduce<Argv<GlobalOptions>>((all, one) => one.mount(all, mounting), globals)
    .demandCommand(1, 'Which command?')
    .strict()
    .recommendCommands()
    .completion('completion', 'Print a script for bash or zsh that completes commands and options')
    // Ours is the first word alone: `publish --version 1.0.0` is another.
    .version(false)
    .help('help', 'Show this help')
    .alias('help', 'h')
    .wrap(width)
    .exitProcess(false);
}

/**
 * Runs one command line. In: the arguments after the program's name. Out: the exit code; nothing is thrown. An error is
 * written as its code, what was wrong and the cure; where it came from is shown for a bug of ours, and with `--debug`.
 */
export async function runCommandLine(args: readonly string[], { commands, streams, signal, width }: CommandLine): Promise<ExitCode> {
  // What was asked for before parsing can fail.
  const has = (flag: string): boolean => args.includes(flag);
  const output = new Output(streams, { json: has('--json') });
  if (args[0] === '--version' && args.every((arg) => arg === '--version' || arg === '--json')) {
    output.result({ version }, () => version);
    return exitCodes.ok;
  }
  let code: ExitCode = exitCodes.ok;
  let examples = firstSteps;
  const mounting: Mounting = {
    execute: async (run) => { code = await runReporting(run, { output, signal }, has('--debug')); },
    named: (ofCommand) => { examples = ofCommand; },
  };
  try {
    const parser = buildParser(commands, mounting, width ?? null);
    parser.fail((message: string, error: Error | undefined) => { throw error ?? usage(message); });
    await parser.parseAsync([...args], {}, (_error, _parsed, text) => {
      if (text === '') return;
      streams.out.write(`${text}\n`);
      if (has('--help') || has('-h')) streams.out.write(`\n${exampleText(examples)}\n`);
    });
    return code;
  } catch (error) {
    return report(error instanceof Failure ? error : usage(error instanceof Error ? error.message : String(error)), { output, signal }, has('--debug'));
  }
}

/** Not left to yargs, which breaks a long line where it can no longer be copied. */
function exampleText(examples: Examples): string {
  return ['Examples:', ...examples.flatMap(([line, meaning]) => [`  # ${meaning}`, `  waybill ${line}`])].join('\n');
}

const usage = (message: string): Failure => new Failure('input', 'USAGE', message);

async function runReporting(
  run: (context: CommandContext) => Promise<ExitCode | void>, context: CommandContext, debug: boolean,
): Promise<ExitCode> {
  try {
    return (await run(context)) ?? exitCodes.ok;
  } catch (error) {
    return report(error, context, debug);
  }
}

/** Writes what went wrong; the exit code that says so. */
function report(error: unknown, { output, signal }: CommandContext, debug: boolean): ExitCode {
  if (signal.aborted && error instanceof Error && error.name === 'AbortError') {
    output.note(error.message);
    return exitCodes.interrupted;
  }
  // What a person typed is refused by the same parsers as what an event carries.
  const failure = error instanceof FieldError ? new Failure('input', 'USAGE', error.message, { cause: error }) : asFailure(error);
  const origin = failure.cause instanceof Error ? failure.cause : failure;
  // What a role tries again by itself, a person does.
  const cure = failure.kind === 'dependency' ? 'Look at the service that the message names, then run the command again.' : failure.cure;
  output.error({ code: failure.code, message: failure.message, cure }, debug || failure.kind === 'fault' ? origin.stack : undefined);
  return codeOf(failure);
}

/** What a guard of a run refuses; scripts tell it from what merely failed. */
const guards = new Set<string>(['PLAN_CHANGED', 'CANARY_MISSING', 'IDENTITY_MISMATCH', 'MIS_TAGGED']);

function codeOf({ code }: Failure): ExitCode {
  if (code === 'RUN_LEASED') return exitCodes.leaseHeld;
  if (guards.has(code)) return exitCodes.guarded;
  if (code === 'USAGE' || code === 'CONFIG_INVALID') return exitCodes.usage;
  return code === 'NOT_FOUND' ? exitCodes.nothingMatched : exitCodes.failed;
}
