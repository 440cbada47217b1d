#!/usr/bin/env -S node --disable-warning=TimeoutNegativeWarning
import { watchTermination } from '../process/lifecycle.ts';
import { commands } from './commands.ts';
import { runCommandLine } from './run-command-line.ts';

/** The only main: hands the command line to the table of commands. The exit code is the command's. */
const { signal } = watchTermination();
const width = process.stdout.isTTY ? Math.min(process.stdout.columns, 120) : undefined;
process.exitCode = await runCommandLine(process.argv.slice(2), { commands, streams: { out: process.stdout, err: process.stderr }, signal, width });
