import type { Config, SettingName } from '../process/config.ts';
import { Failure } from '../process/failure.ts';
import { runTogether } from '../process/lifecycle.ts';
import { createLogger, type Logger } from '../process/log.ts';
import { settingsOf, wireEntitlements, wireExpiry, wireRelay, wireRollouts, wireSweep, wireWorkspaces, type Wired } from '../wire.ts';
import { wireChainer } from '../wire-audit.ts';
import { wireDeliveries } from '../wire-deliveries.ts';
import { wireHttp } from '../wire-http.ts';
import { wireMetricsServer } from '../wire-metrics.ts';
import { command } from './command.ts';
import { readSettings } from './settings.ts';

const roles = ['entitlements', 'workspaces', 'deliveries', 'relay', 'expiry', 'rollouts', 'sweep', 'chainer', 'http'] as const;
export type RoleName = (typeof roles)[number];

/** What these roles together ask for. */
export type RoleConfig<Name extends RoleName = RoleName> = Config<(typeof settingsOf)[Name][number]>;

type WireRole<Name extends RoleName> = (config: RoleConfig<Name>, log: Logger) => Wired;

const wireOne: { readonly [Name in RoleName]: WireRole<Name> } = {
  entitlements: wireEntitlements,
  workspaces: wireWorkspaces,
  deliveries: wireDeliveries,
  relay: wireRelay,
  expiry: wireExpiry,
  rollouts: wireRollouts,
  sweep: wireSweep,
  chainer: wireChainer,
  http: wireHttp,
};

/** Opens roles; `log` makes the log of each. Whoever calls ends them. */
export function wireRoles<Name extends RoleName>(names: readonly Name[], config: RoleConfig<Name>, log: (role: string) => Logger): Wired[] {
  return names.map((name) => {
    const wire = wireOne[name] as WireRole<Name>; // the row of its own name, which the compiler does not follow
    return wire(config, log(name));
  });
}

export const runCommand = command({
  usage: 'run',
  summary: 'Run roles of the pipeline until they are told to stop',
  examples: [
    ['run', 'all roles in one process'],
    ['run --role deliveries', 'one more worker: roles scale by starting more of them'],
    ['run --role relay --database postgres://billing@db/billing', 'the relay of the outbox in the database of a producer'],
  ],
  options: (yargs) => yargs
    .option('role', { choices: ['all', ...roles] as const, array: true, default: ['all'] as const, describe: 'Which role; may be repeated' })
    .option('database', { type: 'string', describe: 'For the relay: the database whose outbox it publishes, instead of WAYBILL_DATABASE_URL; its schema is public unless --schema says another' })
    .option('schema', { type: 'string', describe: 'For the relay: the schema of the outbox' }),
  run: async ({ role, database, schema }, { output, signal }) => {
    const wanted: readonly string[] = role;
    const names = wanted.includes('all') ? roles : roles.filter((name) => wanted.includes(name));
    if ((database !== undefined || schema !== undefined) && names.join() !== 'relay') {
      throw new Failure('input', 'USAGE', '--database and --schema are for `--role relay` alone: every other role works on WAYBILL_DATABASE_URL');
    }
    const settings: SettingName[] = [...new Set([...names.flatMap((name): readonly SettingName[] => settingsOf[name]), ...settingsOf.metrics, 'logLevel' as const])];
    // Another database has nothing to do with the file or the schema that the environment names for ours.
    const given = {
      ...(database !== undefined && { WAYBILL_DATABASE_URL: database, WAYBILL_DATABASE_URL_FILE: '', WAYBILL_DATABASE_SCHEMA: 'public' }),
      ...(schema !== undefined && { WAYBILL_DATABASE_SCHEMA: schema }),
    };
    const config = readSettings(settings, given) as RoleConfig & Config<'logLevel' | 'metricsListen'>; // what the named roles ask for is there
    const log = (name: string): Logger => createLogger(config.logLevel, name);
    const metrics = wireMetricsServer(config, log('metrics'), database === undefined ? 'pipeline' : 'producer');
    const wired = [...(metrics === undefined ? [] : [metrics]), ...wireRoles(names, config, log)];
    try {
      output.note(`running ${names.join(', ')}; Ctrl-C drains and stops, twice stops at once`);
      await runTogether(wired, signal, { log: log('run') });
    } finally {
      await Promise.all(wired.map(async (one) => { await one[Symbol.asyncDispose](); }));
    }
  },
});
