import { commands } from '../../cli/commands.ts';
import { runCommandLine } from '../../cli/run-command-line.ts';

/** What a command line has written, and how it ended. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command line in this process, with the environment as it is. */
export async function waybill(...args: string[]): Promise<Ran> {
  let out = '';
  let err = '';
  const code = await runCommandLine(args, {
    commands,
    streams: { out: { write: (text) => { out += text; } }, err: { write: (text) => { err += text; } } },
    signal: new AbortController().signal,
  });
  return { code, out, err };
}

/** The one JSON document that a command wrote under `--json`. */
export async function waybillJson<T>(...args: string[]): Promise<T> {
  const { code, out, err } = await waybill(...args, '--json');
  if (code !== 0) throw new Error(`waybill ${args.join(' ')} ended with ${String(code)}: ${err}`);
  return JSON.parse(out) as T; // whoever calls knows what the command writes
}
