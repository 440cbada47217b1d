import { join } from 'node:path';

import { createGuardedFetch } from './adapters/guarded-fetch/guarded-fetch.ts';
import { createUnsealer } from './adapters/kms/envelope.ts';
import { openKms } from './adapters/kms/kms-client.ts';
import { createArtifactStore } from './adapters/s3/artifact-store.ts';
import { createVolumeWork } from './adapters/volume/create-volume-work.ts';
import { CiphertextCache } from './delivery/sources/ciphertext-cache.ts';
import { runWorker } from './delivery/worker.ts';
import { ByteBudget } from './process/byte-budget.ts';
import type { Logger } from './process/log.ts';
import { fetchListsOf, gitOf, limitsOf } from './wire-sources.ts';
import { signerOf, unwrapperOf, whileNudged, wireDatabase, type Needs, type Wired } from './wire.ts';

/** Volumes worked on at once; more threads than this only fight for the disk. */
const volumeThreadsMax = 4;

export function wireDeliveries(config: Needs<'deliveries'>, log: Logger): Wired {
  const resources = new AsyncDisposableStack();
  const own = resources.use(wireDatabase(config, 'deliveries', config.deliveriesAtOnce + 2));
  const objects = resources.adopt(createArtifactStore(signerOf(config)), (opened) => { opened.close(); });
  const client = resources.adopt(openKms(unwrapperOf(config)), (opened) => { opened.destroy(); });
  const fetcher = resources.adopt(
    createGuardedFetch({ ...fetchListsOf(config), timeoutMs: config.fetchTimeoutMs, idleMs: config.fetchIdleMs }),
    async (opened) => { await opened.close(); },
  );
  const volumes = resources.adopt(
    createVolumeWork({ threads: Math.min(config.deliveriesAtOnce, volumeThreadsMax), entryBytesMax: config.entryBytesMax }),
    async (opened) => { await opened.close(); },
  );
  return {
    name: 'deliveries',
    run: async (signal) => {
      const deps = {
        database: own, signer: objects, fetcher, volumes, unsealerOf: (wrappingKeyId: string) => createUnsealer(client, wrappingKeyId), limits: limitsOf(config),
        volumeOf: (workspaceId: string) => join(config.volumesRoot, workspaceId),
        budget: new ByteBudget(config.inFlightBytesMax),
        ciphertexts: new CiphertextCache(config.ciphertextCacheBytesMax),
        git: gitOf(config),
        options: { thirdPartySellers: config.thirdPartySellers === 'on', settleWindowMs: config.settleWindowMs },
      };
      const { deliveriesAtOnce: atOnce, leaseMs } = config;
      await whileNudged(new Set(), async (nudge) => { await runWorker(deps, { atOnce, leaseMs, signal, log, nudge }); });
    },
    [Symbol.asyncDispose]: async () => { await resources.disposeAsync(); },
  };
}
