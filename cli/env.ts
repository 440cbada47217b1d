import { Failure } from '../process/failure.ts';
import { findRunningStack } from '../stack/state-file.ts';
import { command } from './command.ts';
import { devEnvironment, devStateDir } from './settings.ts';

export const envCommand = command({
  usage: 'env',
  summary: 'Print what a running `waybill dev` offers, as variables for programs of your own',
  examples: [
    ['env > mine.env && set -a && . ./mine.env', 'in a second terminal: your program finds the local services'],
    ['env --json', 'the same as one JSON object'],
  ],
  options: (yargs) => yargs,
  run: async (_, { output }) => {
    const stateDir = devStateDir();
    const running = findRunningStack(stateDir);
    if (running === undefined) throw new Failure('input', 'NOT_FOUND', `no \`waybill dev\` of this checkout runs (looked in ${stateDir}): start it with \`npm start\` in another terminal`);
    output.result(devEnvironment(running, stateDir), asExports);
  },
});

/** Lines that a shell reads. */
const asExports = (variables: Readonly<Record<string, string | undefined>>): string =>
  Object.entries(variables).map(([name, value = '']) => `export ${name}='${value.replaceAll("'", String.raw`'\''`)}'`).join('\n');
