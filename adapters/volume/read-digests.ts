import { checkVolumePath } from '../../delivery/volume/path.ts';
import { findPlace, isBlocked } from '../../delivery/volume/place.ts';
import type { VolumeContext } from '../../delivery/volume/directory.ts';
import type { Standing } from '../../replay/backfill/identity.ts';
import { volumeFailure } from './errno.ts';
import { openVolume } from './open-directory.ts';

/**
 * What stands at these paths of a volume, read as a boot reads them: no link followed, no pipe waited for.
 * @throws Failure subject VOLUME_UNWRITABLE (no such volume), UNSUPPORTED_VOLUME, PATH_REFUSED; dependency UNAVAILABLE
 */
export function readDigests(volume: string, paths: readonly string[], entryBytesMax: number): Map<string, Standing> {
  const context: VolumeContext = { openVolume, entryBytesMax, step: () => undefined };
  for (const path of paths) checkVolumePath(path);
  try {
    using root = context.openVolume(volume);
    return new Map(paths.map((path) => {
      const found = findPlace(context, root, path);
      if (found === 'missing') return [path, 'missing'] as const;
      if (isBlocked(found)) return [path, 'not-regular'] as const;
      using place = found;
      const digest = place.parent.digest(place.name, entryBytesMax);
      return [path, typeof digest === 'string' ? digest : digest.sha256] as const;
    }));
  } catch (error) {
    throw volumeFailure(volume, error);
  }
}
