import { join } from 'node:path';

import { readDigests } from './adapters/volume/read-digests.ts';
import type { Config, SettingName } from './process/config.ts';
import type { BackfillDeps } from './replay/backfill/backfill-deps.ts';
import type { Measuring } from './replay/run/measure.ts';
import { settingsOf, wireDatabase } from './wire.ts';

/** The part of the composition root for runs of an operator (replay/): what their commands open. */

const controlPlane = ['controlPlaneDatabaseUrl', 'controlPlaneDatabaseSchema'] as const satisfies readonly SettingName[];

/** What each command asks for; `readConfig` takes it. */
export const runSettings = {
  backfill: [...settingsOf.database, ...controlPlane, 'volumesRoot', 'thirdPartySellers', 'entryBytesMax'],
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
