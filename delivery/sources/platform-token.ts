import type { UnpackedFile } from '../../catalogue/archive.ts';
import { Failure } from '../../process/failure.ts';
import type { SellerId } from '../../schemas/ids.ts';
import { fetchFromGit, type GitSourceOptions, type PinnedRelease } from './git-archive.ts';

declare const own: unique symbol;

/** A release of the platform itself: the brand is private to this file, so nothing else reaches the token (C2). */
export interface PlatformRelease extends PinnedRelease {
  readonly [own]: true;
}

export interface PlatformTokenOptions extends GitSourceOptions {
  /** Read-only; undefined: the source is switched off. A secret: never in a message or a log. */
  readonly platformToken: string | undefined;
  /** The platform's own repositories, exact https URLs: the token is sent for no other. */
  readonly repositories: readonly string[];
}

/**
 * The token of the platform reads the platform's own releases, out of repositories that the configuration names: anything
 * else is refused before a connection is made.
 * @throws Failure subject SOURCE_REFUSED
 */
export function asPlatformRelease(release: PinnedRelease & { readonly sellerId: SellerId }, { platformToken, repositories }: PlatformTokenOptions): PlatformRelease {
  const refuse = (why: string): Failure => new Failure('subject', 'SOURCE_REFUSED', `${release.itemId} ${release.version} is not fetched with the token of the platform: ${why}`);
  if (release.sellerId !== 'platform' || release.signed.seller_id !== 'platform') throw refuse(`it is of the seller ${release.sellerId}`);
  if (platformToken === undefined) throw refuse('there is none (WAYBILL_PLATFORM_TOKEN)');
  if (!repositories.includes(release.repository)) throw refuse(`${release.repository} is not in WAYBILL_PLATFORM_REPOSITORIES`);
  const ownRelease: PinnedRelease = release;
  return ownRelease as PlatformRelease; // the brand is what the three lines above say
}

/** @throws as fetchFromGit */
export async function fetchWithPlatformToken(release: PlatformRelease, options: PlatformTokenOptions): Promise<UnpackedFile[]> {
  return await fetchFromGit(release, { authorization: `token ${options.platformToken ?? ''}` }, options);
}
