import type { ItemId, SellerId, Version } from '../schemas/ids.ts';

/**
 * Where the bytes of a release come from (C2).
 * - brokered: the sealed object in the store. Every release can, always.
 * - open: the archive of the pinned commit from a git host, without a token: our open items.
 * - platform-token: the same with a read-only token: the platform's own private items, and nobody else's, for the time being.
 */
export type ReleaseSource = 'brokered' | 'open' | 'platform-token';
export const releaseSources: readonly ReleaseSource[] = ['brokered', 'open', 'platform-token'];

export interface SourcedRelease {
  readonly itemId: ItemId;
  readonly version: Version;
  readonly sellerId: SellerId;
  readonly access: 'open' | 'platform' | 'sold';
  /** As it is signed: an https URL, or a name that leads nowhere. */
  readonly repository: string;
}

/** Why a release may not come from a source, in words; undefined: it may. Said when it is moved, and again at every delivery. */
export function sourceFault({ sellerId, access, repository }: SourcedRelease, source: ReleaseSource): string | undefined {
  if (source === 'brokered') return undefined;
  if (!repository.startsWith('https://')) return `it was published from ${repository}, which is no https URL that could be fetched from`;
  if (source === 'open') return access === 'open' ? undefined : `it is ${access}, and only what is open to everybody is fetched without an entitlement to its bytes`;
  if (sellerId !== 'platform') return `it is of the seller ${sellerId}, and the token of the platform reads the platform's own repositories alone`;
  return access === 'sold' ? 'it is sold, and what is sold is under a key of its own' : undefined;
}
