import type { Code } from '../schemas/codes.ts';
import type { AssetsReady, AssetsRejected, AssetsRevoked, RestartRequested } from '../schemas/generated/events.ts';
import type { EventTypeOn, TypedEvent } from '../schemas/topics.ts';
import type { DeliveryState, HeldRelease, Outcome } from './decide.ts';
import { lapseName, nameOf } from './forbidden.ts';
import { setDigest } from './wanted-set.ts';

/** What the topic tells of a delivery: the part of the delivery row that announcements carry. */
export interface SaidState extends Pick<DeliveryState, 'present' | 'announced' | 'restartRequested' | 'lapsesAnnounced'> {
  readonly assetsVersion: number;
  /** Moments in milliseconds since the epoch. */
  readonly restartsAsked: readonly number[];
  /** What alone is on the volume since; null: what the receipts name. */
  readonly delivered: readonly HeldRelease[] | null;
  /** A tree that was staged before is not there as the row says. */
  readonly isStagedGone: boolean;
}

export type AssetsEvent = TypedEvent<EventTypeOn<'waybill.assets'>>;

/**
 * What the delivery row of a workspace was after it had said `event`: how a database that was set back learns what it has
 * said and done meanwhile (I26). Events that it knows change nothing. Pure.
 */
export function relearn(state: SaidState, { type, event }: AssetsEvent): SaidState {
  if (event.assets_version <= state.assetsVersion) return state;
  const said = { ...state, assetsVersion: event.assets_version, isStagedGone: true };
  switch (type) {
    case 'AssetsReady':
      return afterReady(said, event);
    case 'AssetsRejected':
      // What a boot with a refused template left on the volume is not told. Where `present` is wrong now, the next probe finds it.
      return { ...said, announced: rejectedOutcome(event) };
    case 'AssetsRevoked':
      return afterRevoked(said, event);
    case 'RestartRequested':
      return afterRestart(said, event);
  }
}

function afterReady(said: SaidState, { epoch, generation, set_digest, items, withheld }: AssetsReady): SaidState {
  const releases = items.map((item) => ({ itemId: item.item_id, version: item.version, archiveSha256: item.archive_sha256 }));
  return {
    ...said,
    present: { setDigest: set_digest, items: releases },
    delivered: releases,
    lapsesAnnounced: [],
    announced: {
      kind: 'ready', epoch, generation, setDigest: set_digest, code: null, itemId: null,
      withheld: withheld.map((item) => ({ itemId: item.item_id, code: item.code as Code })), // a code of the table: waybill wrote it
    },
  };
}

const rejectedOutcome = ({ epoch, generation, code, item_id }: AssetsRejected): Outcome =>
  ({ kind: 'rejected', epoch, generation, setDigest: setDigest([]), withheld: [], code: code as Code, itemId: item_id }); // as above

function afterRevoked(said: SaidState, { items, reason, effect }: AssetsRevoked): SaidState {
  const lapses = items.map((item) => ({ itemId: item.item_id, version: item.version, reason }));
  if (effect !== 'removed') {
    return { ...said, announced: null, lapsesAnnounced: [...said.lapsesAnnounced, ...lapses.map(lapseName)] };
  }
  const gone = new Set(lapses.map(nameOf));
  const left = said.present?.items.filter((held) => !gone.has(nameOf(held)));
  return left === undefined ? { ...said, present: null } : { ...said, present: { setDigest: setDigest(left), items: left }, delivered: left };
}

function afterRestart(said: SaidState, { epoch, set_digest, occurred_at }: RestartRequested): SaidState {
  const earlier = said.restartRequested?.epoch === epoch ? said.restartRequested.setDigests : [];
  return {
    ...said, announced: null, restartsAsked: [...said.restartsAsked, occurred_at],
    restartRequested: { epoch, setDigests: [...new Set([...earlier, set_digest])] },
  };
}
