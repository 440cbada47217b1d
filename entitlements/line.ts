import type { EntitlementSource, RevokeReason } from '../schemas/generated/events.ts';
import type { ItemId, OrgId, Policy, PurchaseId } from '../schemas/ids.ts';
import type { TypedEvent } from '../schemas/topics.ts';
import { contentDigest, type Versioned } from './decide.ts';

/** One purchase, subscription or grant as the newest event has it; a revoked one stays as a tombstone (A1). */
export interface Line extends Versioned {
  readonly orgId: OrgId;
  readonly itemId: ItemId;
  readonly purchaseId: PurchaseId;
  readonly source: EntitlementSource;
  readonly policy: Policy;
  /** Live from this moment, milliseconds since the epoch. */
  readonly validFrom: number;
  /** Live until just before this moment, milliseconds since the epoch; null: no end. */
  readonly validUntil: number | null;
  /** Of a revoked line; both null otherwise. Milliseconds since the epoch. */
  readonly endedAt: number | null;
  readonly reason: RevokeReason | null;
}

export type LineEvent = TypedEvent<'Purchase' | 'Revoke'>;

/** The line that an event carries. Who caused it and when is provenance, not content: a repeat may differ there. */
export function lineOf({ type, event }: LineEvent): Line {
  const endedAt = type === 'Revoke' ? event.ended_at : null;
  const reason = type === 'Revoke' ? event.reason : null;
  return {
    orgId: event.org_id,
    itemId: event.item_id,
    purchaseId: event.purchase_id,
    version: event.entitlement_version,
    ended: type === 'Revoke',
    digest: contentDigest([
      event.org_id, event.item_id, event.purchase_id, event.source, event.policy, event.valid_from, event.valid_until, endedAt, reason,
    ]),
    source: event.source,
    policy: event.policy,
    validFrom: event.valid_from,
    validUntil: event.valid_until,
    endedAt,
    reason,
  };
}

/** What EntitlementChanged and the (org, item) lock are keyed on. None of the parts can hold a slash. */
export const pairKeyOf = ({ orgId, itemId }: Pick<Line, 'orgId' | 'itemId'>): string => `${orgId}/${itemId}`;

export const lineKeyOf = (line: Pick<Line, 'orgId' | 'itemId' | 'purchaseId'>): string => `${pairKeyOf(line)}/${line.purchaseId}`;
