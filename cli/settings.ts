import { join, resolve } from 'node:path';

import { readConfig, wholeEnvironment, type Config, type Environment, type SettingName } from '../process/config.ts';
import { Failure } from '../process/failure.ts';
import { connectionsAsEnvironment, type StackConnections } from '../stack/connections.ts';
import { findRunningStack } from '../stack/state-file.ts';
import { devIssuerEnvironment } from './dev/issuer.ts';
import { devKeyListFile, devLeaseFile } from './dev/key-list.ts';

/** The checkout that this file is in, wherever the command is called from. */
const checkout = resolve(import.meta.dirname, '..');

/** Where `waybill dev` of this checkout keeps its services, volumes and logs: WAYBILL_STATE_DIR, else `.waybill/dev`. */
export function devStateDir(): string {
  const named = wholeEnvironment()['WAYBILL_STATE_DIR'];
  return named === undefined || named === '' ? join(checkout, '.waybill', 'dev') : resolve(named);
}

/** What `waybill dev` runs with where the environment says nothing: three schemas of one database, one broker, short waits. */
export function devEnvironment(connections: StackConnections, stateDir: string): Environment {
  const { databaseUrl } = connections;
  return {
    ...connectionsAsEnvironment(connections),
    WAYBILL_DATABASE_SCHEMA: 'waybill',
    WAYBILL_CONTROL_PLANE_DATABASE_URL: databaseUrl,
    WAYBILL_CONTROL_PLANE_DATABASE_SCHEMA: 'control_plane',
    WAYBILL_BILLING_DATABASE_URL: databaseUrl,
    WAYBILL_BILLING_DATABASE_SCHEMA: 'billing',
    // Members of a `dev` that was killed are soon given up.
    WAYBILL_SESSION_TIMEOUT_MS: '6000',
    WAYBILL_REPLICATION_FACTOR: '1',
    WAYBILL_VOLUMES: join(stateDir, 'volumes'),
    WAYBILL_SETTLE_WINDOW_MS: '500',
    // Several at once in one machine: each takes a port that is free.
    WAYBILL_HTTP_PORT: '0',
    ...devIssuerEnvironment(stateDir),
    WAYBILL_LEASE_KEY_PATH: devLeaseFile(stateDir),
    WAYBILL_KEY_LIST_FILE: devKeyListFile(stateDir),
    WAYBILL_FETCH_HOSTS: new URL(connections.s3.endpoint).host,
  };
}

/** Folder of the volumes of the `waybill dev` that runs in this checkout; undefined when none does. */
export function devVolumes(): string | undefined {
  return findRunningStack(devStateDir()) === undefined ? undefined : readSettings(['volumesRoot']).volumesRoot;
}

/**
 * The settings of a command: from the environment, and where it says nothing from the `waybill dev` of this checkout that
 * runs now, so that a second terminal needs no configuration. `given`: what the command line says, before all else.
 * @throws Failure CONFIG_INVALID with every fault
 */
export function readSettings<Name extends SettingName>(names: readonly Name[], given: Environment = {}): Config<Name> {
  const stateDir = devStateDir();
  const running = findRunningStack(stateDir);
  const environment = { ...wholeEnvironment(), ...given };
  if (running !== undefined) return readConfig(names, devEnvironment(running, stateDir), environment);
  try {
    return readConfig(names, {}, environment);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure(error.kind, error.code, `${error.message}\n  No \`waybill dev\` of this checkout runs: while one does (\`npm start\`), commands take what they need from it.`, { cause: error });
  }
}
