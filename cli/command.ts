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
  readonly examples: Examples;
  readonly options: (yargs: Argv<GlobalOptions>) => Argv<Options>;
  /** Nothing returned: exit code 0. */
  readonly run: (args: ArgumentsCamelCase<Options>, context: CommandContext) => Promise<ExitCode | void>;
}

/** What mounting a command needs of whoever runs the command line. */
export interface Mounting {
  readonly execute: (run: (context: CommandContext) => Promise<ExitCode | void>) => Promise<void>;
  /** Called with the examples of the command that was named: its help shows them, whole, below what yargs writes. */
  readonly named: (examples: Examples) => void;
}

/** Command lines that work, with what they do. */
export type Examples = readonly (readonly [line: string, meaning: string])[];

/** A command or a group of commands, whatever its options: what the table holds. */
export interface Mountable {
  readonly usage: string;
  readonly summary: string;
  readonly examples: Examples;
  readonly subcommands: readonly Mountable[];
  readonly mount: (yargs: Argv<GlobalOptions>, mounting: Mounting) => Argv<GlobalOptions>;
}

/** Forgets the type of the options, so that commands of all kinds stand in one table. */
export function command<Options>(definition: Command<Options>): Mountable {
  const { usage, summary, examples, options, run } = definition;
  return {
    usage, summary, examples, subcommands: [],
    mount: (yargs, { execute, named }) => yargs.command(
      usage, summary,
      (own) => {
        named(examples);
        return options(own);
      },
      async (args) => { await execute(async (context) => await run(args, context)); },
    ),
  };
}

/** Several commands under one word. */
export function group(name: string, summary: string, subcommands: readonly Mountable[]): Mountable {
  const examples = subcommands.flatMap((sub) => sub.examples.slice(0, 1));
  return {
    usage: name, summary, examples, subcommands,
    mount: (yargs, mounting) => yargs.command(
      name, summary,
      (own) => {
        mounting.named(examples);
        return subcommands.reduce((all, sub) => sub.mount(all, mounting), own).demandCommand(1, `Which of: ${subcommands.map((sub) => sub.usage.split(' ')[0] ?? '').join(', ')}?`);
      },
      // Reached only when no subcommand was named, which demandCommand refuses.
      () => undefined,
    ),
  };
}
