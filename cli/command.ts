import type { ArgumentsCamelCase, Argv } from 'yargs';

import type { ExitCode } from './exit-codes.ts';
import type { Output } from './output.ts';

/** Options that every command has. */
export interface GlobalOptions {
  readonly json: boolean;
  readonly debug: boolean;
}

/** What a running command has besides its arguments. */
export interface CommandContext {
  readonly output: Output;
  /** Aborts when the person asks to stop. */
  readonly signal: AbortSignal;
}

/** One command of the table. `Options` is what its own options parse to. */
export interface Command<Options> {
  /** In yargs' words: `publish`, `explain <subject>`. */
  readonly usage: string;
  /** One line, without full stop. */
  readonly summary: string;
  /** Command lines that work, with what they do. */
  readonly examples: readonly (readonly [line: string, meaning: string])[];
  readonly options: (yargs: Argv<GlobalOptions>) => Argv<Options>;
  /** Nothing returned: exit code 0. */
  readonly run: (args: ArgumentsCamelCase<Options>, context: CommandContext) => Promise<ExitCode | void>;
}

export type Execute = (run: (context: CommandContext) => Promise<ExitCode | void>) => Promise<void>;

/** A command or a group of commands, whatever its options: what the table holds. */
export interface Mountable {
  readonly usage: string;
  readonly summary: string;
  readonly examples: readonly (readonly [line: string, meaning: string])[];
  readonly subcommands: readonly Mountable[];
  readonly mount: (yargs: Argv<GlobalOptions>, execute: Execute) => Argv<GlobalOptions>;
}

/** Forgets the type of the options, so that commands of all kinds stand in one table. */
export function command<Options>(definition: Command<Options>): Mountable {
  const { usage, summary, examples, options, run } = definition;
  return {
    usage, summary, examples, subcommands: [],
    mount: (yargs, execute) => yargs.command(
      usage, summary,
      (own) => options(own.example(examples.map(([line, meaning]) => [`$0 ${line}`, meaning]))),
      async (args) => { await execute(async (context) => await run(args, context)); },
    ),
  };
}

/** Several commands under one word. */
export function group(name: string, summary: string, subcommands: readonly Mountable[]): Mountable {
  return {
    usage: name, summary, examples: [], subcommands,
    mount: (yargs, execute) => yargs.command(
      name, summary,
      (own) => subcommands.reduce((all, sub) => sub.mount(all, execute), own).demandCommand(1, `Which of: ${subcommands.map((sub) => sub.usage.split(' ')[0] ?? '').join(', ')}?`),
      // Reached only when no subcommand was named, which demandCommand refuses.
      () => undefined,
    ),
  };
}
