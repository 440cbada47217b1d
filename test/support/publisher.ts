import { inject } from 'vitest';

import { createGitRepository } from '../../adapters/git/git-repository.ts';
import { createGuardedFetch } from '../../adapters/guarded-fetch/guarded-fetch.ts';
import { createHostResolver } from '../../adapters/guarded-fetch/resolve-host.ts';
import { createSealer, createUnsealer } from '../../adapters/kms/envelope.ts';
import { openKms } from '../../adapters/kms/kms-client.ts';
import { createManifestSigner } from '../../adapters/kms/manifest-signer.ts';
import { createSellerKeys } from '../../adapters/kms/seller-keys.ts';
import { createArtifactStore } from '../../adapters/s3/artifact-store.ts';
import { readArchive } from '../../catalogue/archive.ts';
import { defaultLimits } from '../../catalogue/limits.ts';
import { loadSealedReleases } from '../../catalogue/lookup.ts';
import type { PublishDeps } from '../../catalogue/publish/publish.ts';
import { createSeller } from '../../catalogue/publish/seller.ts';
import { fetchSealed } from '../../delivery/sources/brokered.ts';
import { unsealRelease } from '../../delivery/unseal.ts';
import { openDatabase } from '../../process/database.ts';
import { migrate } from '../../process/migrate.ts';
import { parseItemId, parseSellerId, parseVersion } from '../../schemas/ids.ts';
import { connectionsAsEnvironment } from '../../stack/connections.ts';
import { isolate } from './isolated.ts';

/** A catalogue of its own on real services, with sellers `platform` and `acme`. */
export interface Publisher extends AsyncDisposable {
  readonly deps: PublishDeps;
  /** What commands need to work on the same. */
  readonly environment: Readonly<Record<string, string>>;
  /** What a delivery gets of a release: path → content, `x ` before that of an executable. */
  deliver(item: string, version: string): Promise<Record<string, string>>;
  /** Rows of what publishing writes, to see that nothing was. */
  countRows(): Promise<number[]>;
}

export async function openPublisher(): Promise<Publisher> {
  const { s3, kms: kmsSettings } = inject('stack');
  const resources = new AsyncDisposableStack();
  const isolated = await isolate();
  resources.defer(async () => { await isolated.drop(); });
  const database = resources.adopt(openDatabase(isolated.databaseUrl), async (opened) => { await opened.destroy(); });
  await migrate(database, ['outbox', 'waybill']);
  const store = resources.adopt(createArtifactStore({ ...s3, bucket: isolated.bucket }), (opened) => { opened.close(); });
  const kms = resources.adopt(openKms(kmsSettings), (opened) => { opened.destroy(); });
  const fetcher = resources.adopt(
    createGuardedFetch({ hosts: [new URL(s3.endpoint).host], privateHosts: [], timeoutMs: 30_000, idleMs: 15_000 }), async (opened) => { await opened.close(); },
  );
  for (const seller of ['platform', 'acme']) await createSeller(database, createSellerKeys(kms), parseSellerId(seller));
  const deps: PublishDeps = {
    database, store, signer: createManifestSigner(kms), sealer: createSealer(kms), limits: defaultLimits,
    source: createGitRepository({ timeoutMs: 60_000, resolveHost: createHostResolver([]) }),
  };
  return {
    deps,
    environment: {
      ...connectionsAsEnvironment(inject('stack')), WAYBILL_DATABASE_URL: isolated.databaseUrl, WAYBILL_DATABASE_SCHEMA: 'public',
      WAYBILL_S3_BUCKET: isolated.bucket, WAYBILL_STATE_DIR: '/nowhere/at/all',
    },
    async deliver(item, version) {
      const [release] = await loadSealedReleases(database, [{ itemId: parseItemId(item), version: parseVersion(version) }]);
      if (release === undefined) throw new Error(`${item} ${version} is not in the catalogue`);
      const signed = await store.presignGet({ key: release.objectKey, versionId: release.objectVersion, etag: release.objectEtag }, { at: new Date(), seconds: 60 });
      const { manifest, archive } = await unsealRelease(createUnsealer(kms, release.wrappingKeyId), release, await fetchSealed(fetcher, { ...signed, ...release }), defaultLimits);
      return Object.fromEntries([...readArchive(archive, manifest.files)].map(({ path, bytes, executable }) => [path, `${executable ? 'x ' : ''}${Buffer.from(bytes).toString('utf8')}`]));
    },
    countRows: async () => await Promise.all(['items', 'releases', 'channels', 'waybill_outbox', 'audit', 'fanouts'].map(async (table) => (await database(table)).length)),
    [Symbol.asyncDispose]: async () => { await resources.disposeAsync(); },
  };
}
