import type { Transaction } from '../process/database.ts';
import { wakeInLanes, type Lane, type RunCause } from '../process/pending.ts';
import { appendEvents } from '../producers/outbox.ts';
import type { EntitlementChanged, EntitlementEnd, EntitlementLine } from '../schemas/generated/events.ts';
import { deriveEventId } from '../schemas/ids.ts';
import type { TypedEvent } from '../schemas/topics.ts';
import { effectiveEntitlement, isLive, type EffectiveEntitlement } from './effective.ts';
import { pairKeyOf, type Line } from './line.ts';
import { findHolders, insertFanouts, writeStates, type Pair } from './sql.ts';

/** A pair whose lines, or the time, have changed. */
export interface Announcement extends Pair {
  /** The event that changed it last; null: time passed. */
  readonly causedBy: string | null;
}

/** Lines that one EntitlementChanged names at most. */
const linesMax = 100;
/** Workspaces that one transaction wakes at most. */
const wokenMax = 1000;
/** Reasons for which what is held goes at once, so that its wake overtakes what waits (C13). */
const removedAtOnce = new Set<EntitlementEnd | null>(['fraud', 'malware']);

/**
 * Judges the pairs at `now`, stores what they add up to, appends their EntitlementChanged to the outbox and, last, wakes
 * the workspaces that name or hold the item. In: the pairs, with their exclusive locks held, and all their lines as they
 * stand after the change. A constant number of statements.
 */
export async function announce(trx: Transaction, announcements: readonly Announcement[], lines: Iterable<Line>, now: number, run?: RunCause): Promise<void> {
  if (announcements.length === 0) return;
  const linesOf = Map.groupBy(lines, pairKeyOf);
  const states = announcements.map((pair) => {
    const key = pairKeyOf(pair);
    const own = linesOf.get(key) ?? [];
    return { ...pair, key, lines: own, effective: effectiveEntitlement(own, now) };
  });
  const revisions = await writeStates(trx, states);
  await appendEvents(trx, states.map((state) => entitlementChanged(state, revisions.get(state.key) ?? 0, now, run)));

  await wakeHolders(trx, states.map((state) => ({ ...state, lane: removedAtOnce.has(state.effective.reason) ? 'urgent' as const : run?.lane ?? 'live' as const })));
}

/** Directly while they are few; otherwise in pages, so that the locks of this transaction are not held that long. */
async function wakeHolders(trx: Transaction, pairs: readonly (Pair & { readonly key: string; readonly lane: Lane })[]): Promise<void> {
  const holders = await findHolders(trx, pairs, wokenMax + 1);
  if (holders.length > wokenMax) {
    await insertFanouts(trx, pairs);
    return;
  }
  const laneOf = new Map(pairs.map(({ key, lane }) => [key, lane]));
  const lanes = new Map<string, Lane>();
  for (const { workspaceId, pairKey } of holders) {
    if (lanes.get(workspaceId) !== 'urgent') lanes.set(workspaceId, laneOf.get(pairKey) ?? 'live');
  }
  await wakeInLanes(trx, lanes);
}

function entitlementChanged(
  { orgId, itemId, key, causedBy, lines, effective }: Announcement & { key: string; lines: readonly Line[]; effective: EffectiveEntitlement },
  revision: number, now: number, run: RunCause | undefined,
): TypedEvent<'EntitlementChanged'> {
  const event: EntitlementChanged = {
    event_id: deriveEventId('EntitlementChanged', key, revision),
    occurred_at: now,
    caused_by: causedBy,
    run_id: run?.runId ?? null,
    org_id: orgId,
    item_id: itemId,
    entitled: effective.entitled,
    policy: effective.policy,
    valid_until: effective.validUntil,
    lines: linesShown(lines, now),
    reason: effective.reason,
    entitlement_revision: revision,
  };
  return { type: 'EntitlementChanged', event };
}

/** Sorted by purchase_id; of more than `linesMax` the live ones first, for they carry the decision. */
function linesShown(lines: readonly Line[], now: number): EntitlementLine[] {
  const shown = lines.map((line) => ({ purchase_id: line.purchaseId, entitlement_version: line.version, live: isLive(line, now) }));
  const chosen = shown.length <= linesMax ? shown : shown.toSorted((a, b) => Number(b.live) - Number(a.live)).slice(0, linesMax);
  return chosen.toSorted((a, b) => (a.purchase_id < b.purchase_id ? -1 : 1));
}
