import { tx } from '../process/database.ts';
import { codes, isCode } from '../schemas/codes.ts';
import { parseOrgId } from '../schemas/ids.ts';
import { settingsOf, wireDatabase } from '../wire.ts';
import { command, group } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { parseLimit } from './limit.ts';
import { table } from './output.ts';
import { readSettings } from './settings.ts';

interface DeliveryRow {
  readonly workspace: string;
  readonly status: string | null;
  readonly epoch: number | null;
  readonly template: string | null;
  readonly state: 'working' | 'due' | 'waiting' | 'ready' | 'staged' | 'refused' | 'parked';
  readonly code: string | null;
  readonly tries: number;
  readonly assetsVersion: number;
}

/** One row a workspace that ever had a template or a plugin; the states are those that `explain` puts into words. */
const sql = `
  select * from (
    select d.workspace_id as workspace, r.status, r.epoch, r.template, d.parked_code as code, coalesce(p.tries, 0) as tries,
      d.assets_version as "assetsVersion",
      case when p.lease_until > clock_timestamp() then 'working'
        when p.at <= clock_timestamp() then 'due'
        when p.at is not null then 'waiting'
        when d.parked_code is not null then 'refused'
        when d.staged is not null then 'staged'
        when (d.announced->>'kind', d.announced->>'epoch', d.announced->>'generation') = ('ready', r.epoch::text, r.generation::text) then 'ready'
        else 'parked' end as state
    from deliveries d left join workspace_records r using (workspace_id) left join pending p using (workspace_id)
  ) deliveries
  where (:state::text is null or state = :state) and (:org::uuid is null or workspace in (select workspace_id from deliveries where org_id = :org::uuid))
  order by workspace limit :limit`;

const list = command({
  usage: 'list',
  summary: 'Show where deliveries stand',
  examples: [['deliveries list', 'every workspace that ever had a template or a plugin'], ['deliveries list --state refused', 'only those that somebody has to do something for']],
  options: (yargs) => yargs
    .option('state', { choices: ['working', 'due', 'waiting', 'ready', 'staged', 'refused', 'parked'] as const, describe: 'Only those in this state' })
    .option('org', { type: 'string', describe: 'Only those of this org' })
    .option('limit', { type: 'number', default: 100, describe: 'At most so many' }),
  run: async ({ state, org, limit }, { output }) => {
    const asked = { state: state ?? null, org: org === undefined ? null : parseOrgId(org, 'org'), limit: parseLimit(limit) };
    await using own = wireDatabase(readSettings(settingsOf.database), 'deliveries', 1);
    const { rows } = await tx(own, async (trx) => await trx.raw<{ rows: DeliveryRow[] }>(sql, asked));
    output.result(rows, (all) => (all.length === 0 ? 'no deliveries' : [
      table(['workspace', 'state', 'code', 'status', 'epoch', 'template', 'tries'], all),
      ...[...new Set(all.map(({ code }) => code).filter((code) => code !== null))].filter(isCode).map((code) => `${code}: ${codes[code].cure}`),
    ].join('\n')));
    return rows.length === 0 ? exitCodes.nothingMatched : exitCodes.ok;
  },
});

export const deliveriesCommands = group('deliveries', 'What is delivered, and what is not', [list]);
