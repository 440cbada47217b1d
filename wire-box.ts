import { readFileSync } from 'node:fs';

import { createDataKeyWrapper } from './adapters/jose/data-key-wrapper.ts';
import { createLeaseSigner } from './adapters/jose/lease-signer.ts';
import { createDataKeyUnwrapper } from './adapters/kms/data-key-unwrapper.ts';
import { openKms } from './adapters/kms/kms-client.ts';
import { createArtifactStore } from './adapters/s3/artifact-store.ts';
import type { FetchDeps } from './delivery/box/fetches.ts';
import { PendingWatch } from './delivery/box/watch.ts';
import type { WantedDeps } from './delivery/box/wanted.ts';
import type { Database } from './process/database.ts';
import { Failure } from './process/failure.ts';
import { signerOf, unwrapperOf, type Needs } from './wire.ts';

/** What the agents of workspaces are answered with: URLs by the signer's credential, data keys by the unwrapper's, each its own. */
export function wireBox(config: Needs<'box'>, database: Database, resources: AsyncDisposableStack): WantedDeps & FetchDeps {
  const signer = resources.adopt(createArtifactStore(signerOf(config)), (opened) => { opened.close(); });
  const kms = resources.adopt(openKms(unwrapperOf(config)), (opened) => { opened.destroy(); });
  return {
    database, signer, unwrapper: createDataKeyUnwrapper(kms), wrapper: createDataKeyWrapper(), watch: new PendingWatch(database),
    leases: config.leaseKeyPath === undefined ? undefined : createLeaseSigner(readKey(config.leaseKeyPath)),
    options: { thirdPartySellers: config.thirdPartySellers === 'on', settleWindowMs: config.settleWindowMs },
  };
}

function readKey(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new Failure('input', 'CONFIG_INVALID', `WAYBILL_LEASE_KEY_PATH names ${path}, which cannot be read`, { cause: error });
  }
}
