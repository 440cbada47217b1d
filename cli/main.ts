#!/usr/bin/env -S node --disable-warning=TimeoutNegativeWarning
import { watchTermination } from '../process/lifecycle.ts';
import { commands } from './commands.ts';
import { runCommandLine } from './run-command-line.ts';

/** The only main: hands the command line to the table of commands. The exit code is the command's. */
const { signal } = watchTermination();
const { stdout, stderr } = process;
const width = stdout.isTTY ? Math.min(stdout.columns, 120) : undefined;
// Whoever reads may have read enough, as `| head` does.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
const out = { write: (text: string) => stdout.write(text), hasColours: stdout.isTTY && stdout.hasColors() };
process.exitCode = await runCommandLine(process.argv.slice(2), { commands, streams: { out, err: stderr }, signal, width });
