import type { UnpackedFile } from '../../catalogue/archive.ts';
import type { SealedRelease } from '../../catalogue/lookup.ts';
import type { ReleaseManifest } from '../../catalogue/manifest.ts';
import type { ReleaseSource } from '../../catalogue/source.ts';
import { fetchOpen } from './open.ts';
import { asPlatformRelease, fetchWithPlatformToken, type PlatformTokenOptions } from './platform-token.ts';

/** The files of a release out of the archive of its pinned commit, by the source that is named (C2). @throws as the sources */
export async function fetchPinned(
  release: SealedRelease & { readonly signed: ReleaseManifest }, source: Exclude<ReleaseSource, 'brokered'>, options: PlatformTokenOptions,
): Promise<UnpackedFile[]> {
  switch (source) {
    case 'open':
      return await fetchOpen(release, options);
    case 'platform-token':
      return await fetchWithPlatformToken(asPlatformRelease(release, options), options);
  }
}
