import type { Purchase, Revoke, RevokeReason } from '../schemas/generated/events.ts';
import { nextVersion, refuse, type Refusal } from './mint-version.ts';

/**
 * What billing mints for an entitlement line (A6, "Who mints what"), as plain functions. The functions of
 * migrations/billing do the same in SQL; a test holds both equal over generated histories.
 */

type Envelope = 'event_id' | 'occurred_at' | 'caused_by' | 'run_id';
/** What names a line. */
export type LineKey = Pick<Purchase, 'org_id' | 'item_id' | 'purchase_id'>;
/** What a line entitles to, and when. */
export type LineTerms = Pick<Purchase, 'source' | 'policy' | 'valid_from' | 'valid_until'>;

/** One line in the words of its events: live, or a tombstone with its end. */
export type Line = Omit<Purchase, Envelope> | Omit<Revoke, Envelope>;

export type LineDecision = { readonly outcome: 'minted' | 'unchanged'; readonly line: Line } | Refusal;

/** Mildest first: a revoked line takes a severer reason, never a milder one (C13). */
const severities: readonly RevokeReason[] = ['non_payment', 'refund', 'operator', 'fraud', 'malware'];

/** A purchase, renewal or change of terms. No live version on a revoked purchase, in whatever order they arrive. */
export function decidePurchase(current: Line | undefined, asked: LineKey & LineTerms, version?: number): LineDecision {
  if (current !== undefined && 'ended_at' in current) {
    return refuse('REVOKED', `purchase ${current.purchase_id} of ${current.org_id}/${current.item_id} was revoked for ${current.reason}`);
  }
  if (current !== undefined && sameTerms(current, asked)) return { outcome: 'unchanged', line: current };
  return mint(current, { ...keyAndTerms(asked), entitlement_version: 0 }, version);
}

/** The end of a line. `terms` are needed only for a purchase that billing has not seen: its revocation may come first. */
export function decideRevoke(
  current: Line | undefined,
  { terms, reason, ended_at, ...key }: LineKey & { readonly reason: RevokeReason; readonly ended_at: number; readonly terms?: LineTerms | undefined },
  version?: number,
): LineDecision {
  const line = current ?? (terms && { ...key, ...terms });
  if (line === undefined) {
    return refuse('NOT_FOUND', `billing has no purchase ${key.purchase_id} of ${key.org_id}/${key.item_id}; give its terms to keep its revocation`);
  }
  if (current !== undefined && 'ended_at' in current && severities.indexOf(current.reason) >= severities.indexOf(reason)) {
    return { outcome: 'unchanged', line: current };
  }
  return mint(current, { ...keyAndTerms(line), entitlement_version: 0, ended_at, reason }, version);
}

function mint(current: Line | undefined, next: Line, given: number | undefined): LineDecision {
  const version = nextVersion('entitlement_version', current?.entitlement_version, given);
  return typeof version === 'number' ? { outcome: 'minted', line: { ...next, entitlement_version: version } } : version;
}

const sameTerms = (a: LineTerms, b: LineTerms): boolean =>
  a.source === b.source && a.policy === b.policy && a.valid_from === b.valid_from && a.valid_until === b.valid_until;

const keyAndTerms = ({ org_id, item_id, purchase_id, source, policy, valid_from, valid_until }: LineKey & LineTerms): LineKey & LineTerms =>
  ({ org_id, item_id, purchase_id, source, policy, valid_from, valid_until });
