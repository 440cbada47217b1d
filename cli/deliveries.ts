import { deliveryStates, listDeliveries } from '../delivery/list-deliveries.ts';
import { codes, isCode } from '../schemas/codes.ts';
import { parseOrgId } from '../schemas/ids.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command, group } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { parseLimit } from './limit.ts';
import { table } from './output.ts';
import { readSettings } from './settings.ts';

const list = command({
  usage: 'list',
  summary: 'Show where deliveries stand',
  examples: [['deliveries list', 'every workspace that ever had a template or a plugin'], ['deliveries list --state refused', 'only those that somebody has to do something for']],
  options: (yargs) => yargs
    .option('state', { choices: deliveryStates, describe: 'Only those in this state' })
    .option('org', { type: 'string', describe: 'Only those of this org' })
    .option('limit', { type: 'number', default: 100, describe: 'At most so many' }),
  run: async ({ state, org, limit }, { output }) => {
    const asked = { state, org: org === undefined ? undefined : parseOrgId(org, 'org'), limit: parseLimit(limit) };
    await using own = wireDatabase(readSettings(settingsOf.database), 'deliveries', 1);
    const rows = await listDeliveries(own, asked);
    output.result(rows, (all) => (all.length === 0 ? 'no deliveries' : [
      table(['workspace', 'org', 'state', 'code', 'status', 'epoch', 'template', 'tries'], all),
      ...[...new Set(all.map(({ code }) => code).filter((code) => code !== null))].filter(isCode).map((code) => `${code}: ${codes[code].cure}`),
    ].join('\n')));
    return rows.length === 0 ? exitCodes.nothingMatched : exitCodes.ok;
  },
});

export const deliveriesCommands = group('deliveries', 'What is delivered, and what is not', [list]);
