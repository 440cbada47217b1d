import { adoptOffsets } from '../consumers/positions.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command, group } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { readSettings } from './settings.ts';

const adopt = command({
  usage: 'adopt <consumer>',
  summary: 'Have a consumer read the log that is there from its start',
  examples: [['offsets adopt workspaces', 'after a topic or a cluster was replaced on purpose; nothing is applied twice']],
  options: (yargs) => yargs.positional('consumer', { choices: ['entitlements', 'workspaces'] as const, demandOption: true, describe: 'Whose positions to forget' }),
  run: async ({ consumer }, { output }) => {
    await using own = wireDatabase(readSettings(settingsOf.database), 'offsets', 1);
    const forgotten = await adoptOffsets(own, consumer);
    output.result({ consumer, forgotten }, () => (forgotten === 0
      ? `${consumer} has no stored positions: it begins at the start of the log by itself`
      : `forgot ${String(forgotten)} positions of ${consumer}; it begins at the start of the log when it runs next`));
    return forgotten === 0 ? exitCodes.nothingMatched : exitCodes.ok;
  },
});

export const offsetsCommands = group('offsets', 'Where the consumers stand', [adopt]);
