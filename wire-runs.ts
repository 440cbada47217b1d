import { join } from 'node:path';

import { createKafka } from './adapters/kafka/client.ts';
import { createRangeReader } from './adapters/kafka/range-reader.ts';
import { readDigests } from './adapters/volume/read-digests.ts';
import type { Config, SettingName } from './process/config.ts';
import type { BackfillDeps } from './replay/backfill/backfill-deps.ts';
import type { ImportDeps } from './replay/import/import-run.ts';
import { createConsumerLag } from './replay/log/consumer-lag.ts';
import type { RebuildDeps } from './replay/rebuild/plan-rebuild.ts';
import type { Measuring } from './replay/run/measure.ts';
import { silentLogger } from './process/log.ts';
import { settingsOf, wireCodec, wireDatabase } from './wire.ts';

/** The part of the composition root for runs of an operator (replay/): what their commands open. */

const billing = ['billingDatabaseUrl', 'billingDatabaseSchema'] as const satisfies readonly SettingName[];
const controlPlane = ['controlPlaneDatabaseUrl', 'controlPlaneDatabaseSchema'] as const satisfies readonly SettingName[];

/** What each command asks for; `readConfig` takes it. */
export const runSettings = {
  backfill: [...settingsOf.database, ...controlPlane, 'volumesRoot', 'thirdPartySellers', 'entryBytesMax'],
  import: [...settingsOf.database, ...controlPlane, ...billing],
  replay: [...settingsOf.database, 'kafkaBrokers', 'topicPrefix', 'registryUrl', 'registryTimeoutMs'],
} as const satisfies Record<string, readonly SettingName[]>;

type Needs<Name extends keyof typeof runSettings> = Config<(typeof runSettings)[Name][number]>;

/** What a backfill needs, and where it looks for live traffic. */
export interface Backfilling extends AsyncDisposable {
  readonly deps: BackfillDeps;
  readonly measuring: Measuring;
}

/** Connections to each database: the run's own, and the renewal of its lease. */
const poolMax = 4;

export function wireBackfill(config: Needs<'backfill'>): Backfilling {
  const resources = new AsyncDisposableStack();
  const own = resources.use(wireDatabase(config, 'backfill', poolMax));
  const { controlPlaneDatabaseUrl: databaseUrl, controlPlaneDatabaseSchema: databaseSchema } = config;
  const records = resources.use(wireDatabase({ databaseUrl, databaseSchema }, 'backfill', poolMax));
  return {
    deps: {
      database: own, controlPlane: records, thirdPartySellers: config.thirdPartySellers === 'on',
      readDigests: async (workspaceId, paths) => await Promise.resolve(readDigests(join(config.volumesRoot, workspaceId), paths, config.entryBytesMax)),
    },
    measuring: { database: own, controlPlane: records },
    [Symbol.asyncDispose]: async () => { await resources.disposeAsync(); },
  };
}

/** What an import needs. */
export interface Importing extends AsyncDisposable {
  readonly deps: ImportDeps;
  readonly measuring: Measuring;
}

export function wireImport(config: Needs<'import'>): Importing {
  const resources = new AsyncDisposableStack();
  const own = resources.use(wireDatabase(config, 'import', poolMax));
  const records = resources.use(wireDatabase({ databaseUrl: config.controlPlaneDatabaseUrl, databaseSchema: config.controlPlaneDatabaseSchema }, 'import', poolMax));
  const lines = resources.use(wireDatabase({ databaseUrl: config.billingDatabaseUrl, databaseSchema: config.billingDatabaseSchema }, 'import', poolMax));
  return {
    deps: { database: own, controlPlane: records, billing: lines },
    measuring: { database: own, controlPlane: records },
    [Symbol.asyncDispose]: async () => { await resources.disposeAsync(); },
  };
}

/** What a replay or a rebuild needs. */
export interface Replaying extends AsyncDisposable {
  readonly deps: RebuildDeps;
  readonly measuring: Measuring;
}

/** Tries to reach Kafka before a person is told that it is away. */
const kafkaRetries = 8;

export function wireReplay(config: Needs<'replay'>, name: 'replay' | 'rebuild'): Replaying {
  const own = wireDatabase(config, name, poolMax);
  const reader = createRangeReader({ kafka: createKafka({ brokers: config.kafkaBrokers, clientId: `waybill-${name}`, log: silentLogger, retries: kafkaRetries }), topicPrefix: config.topicPrefix });
  return {
    deps: { database: own, codec: wireCodec(config, own), reader, topicPrefix: config.topicPrefix },
    measuring: { database: own, consumerLagMs: createConsumerLag({ database: own, reader, topicPrefix: config.topicPrefix }) },
    [Symbol.asyncDispose]: async () => { await own.destroy(); },
  };
}
