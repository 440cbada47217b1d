import { hash } from 'node:crypto';

/**
 * The one rule of what wins (A6, I1, I2). An event carries a whole line or record, so folding is choosing the greatest
 * of those seen, and the greatest is the same in any order, however often each arrives.
 */
export interface Versioned {
  /** Minted by the producer; positive, only grows. */
  readonly version: number;
  /** A revoked line, a removed workspace: at equal versions it wins, so that doubt never re-grants. */
  readonly ended: boolean;
  /** SHA-256 over everything stored of the content, 64 hex digits; the last word of the order. */
  readonly digest: string;
}

/**
 * What folding one event did. `conflict` is the one that lost when two contents claim the same version: whoever wins,
 * both are reported, never silently the first (A6).
 */
export type Decision<S extends Versioned> =
  | { readonly kind: 'changed'; readonly next: S; readonly conflict: S | null }
  | { readonly kind: 'unchanged'; readonly reason: 'superseded' | 'duplicate' }
  | { readonly kind: 'unchanged'; readonly reason: 'conflict'; readonly conflict: S };

/** Where a folded event is counted; each event in exactly one (I4). Dead letters never get here. */
export type Bucket = 'applied' | 'superseded' | 'duplicate' | 'conflict';

/** Negative when `a` comes before `b`, positive when it wins over `b`, 0 when they are the same state. */
export function compareVersioned(a: Versioned, b: Versioned): number {
  if (a.version !== b.version) return a.version - b.version;
  if (a.ended !== b.ended) return a.ended ? 1 : -1;
  if (a.digest === b.digest) return 0;
  return a.digest < b.digest ? -1 : 1;
}

/** Folds one state into what is held; undefined: nothing is held yet. */
export function decide<S extends Versioned>(current: S | undefined, incoming: S): Decision<S> {
  if (current === undefined) return { kind: 'changed', next: incoming, conflict: null };
  const order = compareVersioned(incoming, current);
  if (order === 0) return { kind: 'unchanged', reason: 'duplicate' };
  const conflicting = incoming.version === current.version;
  if (order > 0) return { kind: 'changed', next: incoming, conflict: conflicting ? current : null };
  return conflicting ? { kind: 'unchanged', reason: 'conflict', conflict: incoming } : { kind: 'unchanged', reason: 'superseded' };
}

export function bucketOf(decision: Decision<Versioned>): Bucket {
  if (decision.kind === 'unchanged') return decision.reason;
  return decision.conflict === null ? 'applied' : 'conflict';
}

/** One event of a batch and what came of it. */
export interface Folded<E, S extends Versioned> {
  readonly event: E;
  readonly state: S;
  readonly decision: Decision<S>;
}

/** What a batch comes to. */
export interface Fold<E, S extends Versioned> {
  /** One entry an event, in order of arrival. */
  readonly folded: readonly Folded<E, S>[];
  /** What has to be written, one entry a key: the last state that won. */
  readonly changed: ReadonlyMap<string, S>;
}

/** Folds the events of a batch, in order, into the states held before it. `states[i]` is what `events[i]` carries. */
export function foldBatch<E, S extends Versioned>(
  held: ReadonlyMap<string, S>, events: readonly E[], stateOf: (event: E) => S, keyOf: (state: S) => string,
): Fold<E, S> {
  const changed = new Map<string, S>();
  const folded = events.map((event): Folded<E, S> => {
    const state = stateOf(event);
    const key = keyOf(state);
    const decision = decide(changed.get(key) ?? held.get(key), state);
    if (decision.kind === 'changed') changed.set(key, decision.next);
    return { event, state, decision };
  });
  return { folded, changed };
}

/** What became of a batch: how many events each bucket got (I4), which were applied, and the conflicts, for the log (A6). */
export interface BatchResult {
  readonly counts: Readonly<Record<Bucket, number>>;
  /** By event, in their order: whether it was newer than what was held. */
  readonly applied: readonly boolean[];
  readonly conflicts: readonly { readonly subject: string; readonly version: number; readonly eventId: string; readonly won: boolean }[];
}

export function countBuckets(folded: readonly Folded<unknown, Versioned>[]): Record<Bucket, number> {
  const counts = { applied: 0, superseded: 0, duplicate: 0, conflict: 0 };
  for (const { decision } of folded) counts[bucketOf(decision)] += 1;
  return counts;
}

/** By event, in their order: whether it is in the bucket `applied`. A repeat of an applied one is not. */
export const appliedOf = (folded: readonly Folded<unknown, Versioned>[]): readonly boolean[] => folded.map(({ decision }) => bucketOf(decision) === 'applied');

/** SHA-256 over fields in a fixed order: the same content gives the same digest on every machine. */
export const contentDigest = (fields: readonly (string | number | null | readonly string[])[]): string =>
  hash('sha256', JSON.stringify(fields), 'hex');
