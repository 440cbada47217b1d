import type { ItemId, Sha256, Version } from '../../schemas/ids.ts';

/** The release that tagging a workspace leads to. */
export interface Pin {
  readonly item: ItemId;
  readonly version: Version;
  readonly archiveSha256: Sha256;
}

export interface VerifiedCanary extends Pin {
  readonly workspace: string;
  /** Milliseconds since the epoch. */
  readonly verifiedAt: number;
}

export const pinName = ({ item, version, archiveSha256 }: Pin): string => `${item}@${version} ${archiveSha256}`;

/** The releases that a fleet step still lacks a verified canary for (D4). Empty: it may start. */
export function missingCanaries(pins: readonly Pin[], canaries: readonly VerifiedCanary[]): Pin[] {
  const verified = new Set(canaries.map(pinName));
  return pins.filter((pin) => !verified.has(pinName(pin)));
}

/** What of the plan the catalogue and the entitlements no longer lead to. Empty: nothing has moved since. */
export function movedPins(planned: readonly Pin[], now: readonly Pin[]): Pin[] {
  const current = new Set(now.map(pinName));
  return planned.filter((pin) => !current.has(pinName(pin)));
}
