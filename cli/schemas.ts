import { registerSchemaTable, settingsOf } from '../wire.ts';
import { command, group } from './command.ts';
import { table } from './output.ts';
import { readSettings } from './settings.ts';

const register = command({
  usage: 'register',
  summary: 'Register the schemas of all events',
  examples: [['schemas register', 'every subject gets BACKWARD_TRANSITIVE and the newest schema; refuses all or nothing']],
  options: (yargs) => yargs,
  run: async (_args, { output }) => {
    const registered = await registerSchemaTable(readSettings(settingsOf.schemas));
    output.result(registered, (all) => table(['outcome', 'id', 'subject'], all));
  },
});

export const schemasCommands = group('schemas', 'The schemas of the events', [register]);
