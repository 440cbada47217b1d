import { runTogether } from '../process/lifecycle.ts';
import { createLogger } from '../process/log.ts';
import { wireAgent } from '../wire-agent.ts';
import { settingsOf } from '../wire.ts';
import { command } from './command.ts';
import { readSettings } from './settings.ts';

export const agentCommand = command({
  usage: 'agent',
  summary: 'Deliver to one workspace from within it (delivery mode box), until told to stop',
  examples: [
    ['agent', 'asks the broker of WAYBILL_BROKER_URL what is wanted; its keys are made on the volume at the first start'],
  ],
  options: (yargs) => yargs,
  run: async (_, { output, signal }) => {
    const config = readSettings([...settingsOf.agent, 'logLevel']);
    const log = createLogger(config.logLevel, 'agent');
    await using agent = wireAgent(config, log);
    output.note(`delivering to workspace ${config.boxWorkspaceId} at ${config.boxVolume}; Ctrl-C stops`);
    await runTogether([agent], signal, { log });
  },
});
