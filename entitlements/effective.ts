import type { EntitlementEnd } from '../schemas/generated/events.ts';
import { isVersion, type Policy, type Version } from '../schemas/ids.ts';
import type { Line } from './line.ts';

/** What the lines of one (org, item) add up to at a moment of the database's clock. */
export interface EffectiveEntitlement {
  readonly entitled: boolean;
  /** Of the live lines; null exactly when none is live. */
  readonly policy: Policy | null;
  /** When the last live line ends; null: no end, or not entitled. */
  readonly validUntil: number | null;
  /** Of the line that ended last; null while entitled, or when none has ended (it has yet to begin). */
  readonly reason: EntitlementEnd | null;
  /** The next moment at which passing time alone changes a line; null: never (A7). */
  readonly nextChangeAt: number | null;
}

/** C13, mildest first. `unknown` is a revocation of a kind that this version does not know. */
const severity: Readonly<Record<EntitlementEnd, number>> = {
  expired: 0, unknown: 1, non_payment: 2, refund: 3, operator: 4, fraud: 5, malware: 6,
};

/** Valid from its first moment until just before its last, unless revoked (A7). Times in milliseconds since the epoch. */
export const isLive = (line: Line, now: number): boolean =>
  !line.ended && line.validFrom <= now && (line.validUntil === null || now < line.validUntil);

/** In: all lines of one (org, item) and `now` by the database's clock, milliseconds since the epoch (A1, A7, C13). */
export function effectiveEntitlement(lines: readonly Line[], now: number): EffectiveEntitlement {
  const live = lines.filter((line) => isLive(line, now));
  const ends = live.map((line) => line.validUntil).filter((end) => end !== null);
  return {
    entitled: live.length > 0,
    policy: live.toSorted(byPrecedence)[0]?.policy ?? null,
    validUntil: live.length > 0 && ends.length === live.length ? Math.max(...ends) : null,
    reason: live.length > 0 ? null : reasonOfLastEnd(lines, now),
    nextChangeAt: nextChange(lines, now),
  };
}

/** The reason of the line that ended last, ties to the severest (C13). */
function reasonOfLastEnd(lines: readonly Line[], now: number): EntitlementEnd | null {
  let last: { at: number; reason: EntitlementEnd } | null = null;
  for (const line of lines) {
    const end = endOf(line, now);
    if (end === null) continue;
    if (last === null || end.at > last.at || (end.at === last.at && severity[end.reason] > severity[last.reason])) last = end;
  }
  return last?.reason ?? null;
}

/** A revocation speaks also where the line had expired before: fraud found later is fraud. */
function endOf(line: Line, now: number): { at: number; reason: EntitlementEnd } | null {
  if (line.ended && line.endedAt !== null && line.reason !== null) return { at: line.endedAt, reason: line.reason };
  if (line.validUntil !== null && line.validUntil <= now) return { at: line.validUntil, reason: 'expired' };
  return null;
}

function nextChange(lines: readonly Line[], now: number): number | null {
  const coming = lines.filter((line) => !line.ended).flatMap((line) => [line.validFrom, line.validUntil])
    .filter((moment) => moment !== null).filter((moment) => moment > now);
  return coming.length === 0 ? null : Math.min(...coming);
}

/** A channel before a pin, then the newest release, then purchase_id (3-contracts, Events). */
function byPrecedence(a: Line, b: Line): number {
  const pinOfA = isVersion(a.policy) ? a.policy : null;
  const pinOfB = isVersion(b.policy) ? b.policy : null;
  if (pinOfA !== null && pinOfB !== null) {
    const newest = compareReleases(pinOfB, pinOfA);
    if (newest !== 0) return newest;
  } else if (pinOfA !== null || pinOfB !== null) {
    return pinOfA === null ? -1 : 1;
  }
  return a.purchaseId < b.purchaseId ? -1 : 1;
}

/** Versions are exactly three plain numbers, so no library is needed to order them. */
function compareReleases(a: Version, b: Version): number {
  const partsOfB = b.split('.').map(Number);
  return a.split('.').map((part, index) => Number(part) - (partsOfB[index] ?? 0)).find((difference) => difference !== 0) ?? 0;
}
