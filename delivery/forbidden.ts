import type { EffectiveEntitlement } from '../entitlements/effective.ts';
import type { RevocationReason } from '../schemas/generated/events.ts';
import type { ItemId, Version } from '../schemas/ids.ts';
import type { CatalogueEntry } from './wanted-set.ts';

/** A release that a workspace holds, as receipts name it. */
export interface ReleaseRef {
  readonly itemId: ItemId;
  readonly version: Version;
}

/** A release in one word, as people write it. */
export const nameOf = (release: { readonly itemId: string; readonly version: string }): string => `${release.itemId}@${release.version}`;

/** The releases that are not among `others`, each once. */
export function releasesBeside(releases: readonly ReleaseRef[], others: readonly ReleaseRef[]): ReleaseRef[] {
  const names = new Set(others.map(nameOf));
  return [...new Map(releases.map(({ itemId, version }) => [nameOf({ itemId, version }), { itemId, version }]))]
    .flatMap(([name, release]) => (names.has(name) ? [] : [release]));
}

/** Something that the workspace holds and may no longer have, with the reason that acts (C13). */
export interface Lapse extends ReleaseRef {
  readonly reason: RevocationReason;
}

/** A lapse is said once for each reason: what had expired may turn out to be fraud. */
export const lapseName = (lapse: Lapse): string => `${nameOf(lapse)} ${lapse.reason}`;

export interface ForbiddenInput {
  readonly held: readonly ReleaseRef[];
  readonly catalogue: ReadonlyMap<ItemId, CatalogueEntry>;
  readonly entitlements: ReadonlyMap<ItemId, EffectiveEntitlement>;
}

/**
 * What has to go now, in whatever state the workspace is, past every window, cap and pause: releases in quarantine,
 * whatever the lines say, and items whose entitlement ended for fraud or malware (C13).
 */
export function forbiddenReleases({ held, catalogue, entitlements }: ForbiddenInput): Lapse[] {
  return held.flatMap((release): Lapse[] => {
    const entry = catalogue.get(release.itemId);
    if (entry?.releases.get(release.version)?.status === 'quarantined') return [{ ...release, reason: 'quarantined' }];
    const entitlement = entitlements.get(release.itemId);
    const reason = entry?.access === 'sold' && entitlement?.entitled === false ? entitlement.reason : null;
    return reason === 'fraud' || reason === 'malware' ? [{ ...release, reason }] : [];
  });
}
