import type { UnpackedFile } from '../../catalogue/archive.ts';
import { fetchFromGit, type GitSourceOptions, type PinnedRelease } from './git-archive.ts';

/**
 * The open source (C2): the archive of the pinned commit, without any token. What comes is what the seller signed, or it is
 * refused; where it came from proves nothing.
 * @throws as fetchFromGit
 */
export async function fetchOpen(release: PinnedRelease, options: GitSourceOptions): Promise<UnpackedFile[]> {
  return await fetchFromGit(release, {}, options);
}
