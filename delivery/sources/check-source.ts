import { loadSealedReleases } from '../../catalogue/lookup.ts';
import { sourceFault, type ReleaseSource } from '../../catalogue/source.ts';
import type { Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import type { ItemId, Version } from '../../schemas/ids.ts';
import { verifySignedRecord } from '../unseal.ts';
import { fetchPinned } from './fetch-pinned.ts';
import type { PlatformTokenOptions } from './platform-token.ts';

/**
 * Whether a release would come whole from a source: fetched from there once, and held against its signed manifest. Every
 * release has its sealed object since it was published, so for `brokered` nothing is fetched.
 * @throws Failure input NOT_FOUND, SOURCE_REFUSED; as the sources
 */
export async function checkSource(
  database: Database, { itemId, version, source }: { readonly itemId: ItemId; readonly version: Version; readonly source: ReleaseSource }, options: PlatformTokenOptions,
): Promise<void> {
  const [release] = await loadSealedReleases(database, [{ itemId, version }]);
  if (release === undefined) throw new Failure('input', 'NOT_FOUND', `Not in the catalogue: ${itemId} ${version}`);
  const fault = sourceFault(release, source);
  if (fault !== undefined) throw new Failure('input', 'SOURCE_REFUSED', `${itemId} ${version} cannot come from the source ${source}: ${fault}`, { cure: 'Leave it where it is.' });
  if (source === 'brokered') return;
  try {
    await fetchPinned({ ...release, signed: verifySignedRecord(release) }, source, options);
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'INTEGRITY_FAILED') throw error;
    throw new Failure('input', 'INTEGRITY_FAILED', error.message, {
      cause: error,
      cure: 'Leave it where it is. A config.yaml that lost fields when it was published is not the one of its commit: commit it as it is delivered, and publish another version.',
    });
  }
}
