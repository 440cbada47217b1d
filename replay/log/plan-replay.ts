import { createHash } from 'node:crypto';

import { bucketOf, type Versioned } from '../../entitlements/decide.ts';
import { tx } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { keyOf, versionOf } from '../../schemas/topics.ts';
import { insertPlan, type Run } from '../run/runs.ts';
import type { Controls } from '../run/throttle.ts';
import { eventFolds } from './event-folds.ts';
import type { Span } from './range-reader.ts';
import { decodeRecords, type ReplayDeps } from './replay-deps.ts';
import { matchesFilter, resolveSpans, type Bound, type EventFilter, type ReplayTopic } from './replay-request.ts';

export interface ReplayRequest {
  readonly topic: ReplayTopic;
  readonly from?: Bound | undefined;
  readonly to?: Bound | undefined;
  readonly partition?: number | undefined;
  readonly filter: EventFilter;
  readonly reason: string;
  readonly controls?: Partial<Controls>;
}

/** What came of looking at a range. */
export interface ReplayOutlook {
  /** Records in the range, those that the filter takes, and those that can never be read. */
  readonly read: number;
  readonly matched: number;
  readonly unreadable: number;
  /** Of the matched: each in exactly one (I4). */
  readonly stale: number;
  readonly duplicate: number;
  readonly conflicting: number;
  readonly wouldChange: number;
  /** Events that would change something, by type. */
  readonly byType: Readonly<Record<string, number>>;
  /** The first of them. */
  readonly samples: readonly { readonly type: string; readonly key: string; readonly version: number; readonly outcome: string }[];
  /** Lines or records that would be written, and a digest over what they would be. */
  readonly changedKeys: number;
  readonly changes: string;
}

export interface ReplayPlan {
  readonly topic: ReplayTopic;
  readonly clusterId: string;
  readonly spans: readonly Span[];
  readonly filter: EventFilter;
  readonly outlook: ReplayOutlook;
}

const samplesMax = 20;
/** Events a second, unless told otherwise: live traffic is waited for whatever the rate. */
const defaultRate = 5_000;
/** Keys that a plan holds in memory; where more would change, a rebuild is the tool. */
const changedKeysMax = 1_000_000;

/**
 * Reads a range of the log and decides, by the rule of live traffic and against what stands now, what its events would change.
 * Writes nothing but the plan (D1). Current entitlements need no asking: a replayed purchase is the whole line, and an older
 * one never wins over its revocation.
 * @throws Failure input NOT_FOUND (nothing in the range), USAGE; dependency UNAVAILABLE
 */
export async function planReplay(deps: ReplayDeps, request: ReplayRequest): Promise<Run> {
  const { topic, filter } = request;
  const spans = await resolveSpans(deps.reader, topic, request);
  if (spans.length === 0) throw new Failure('input', 'NOT_FOUND', `There is no record of ${topic} in that range.`);
  const given = Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
  const outlook = await lookAhead(deps, { topic, spans, filter });
  const plan: ReplayPlan = { topic, clusterId: await deps.reader.clusterId(), spans, filter: given, outlook };
  return await insertPlan(deps.database, {
    kind: 'replay', reason: request.reason, plan, total: outlook.read, controls: { rate: defaultRate, ...request.controls },
  });
}

/** What the events of these spans would do now. */
export async function lookAhead(deps: ReplayDeps, { topic, spans, filter }: Pick<ReplayPlan, 'topic' | 'spans' | 'filter'>): Promise<ReplayOutlook> {
  const fold = eventFolds[topic];
  const changed = new Map<string, Versioned>();
  const counts = { read: 0, matched: 0, unreadable: 0, superseded: 0, duplicate: 0, conflict: 0, applied: 0 };
  const byType: Record<string, number> = {};
  const samples: { type: string; key: string; version: number; outcome: string }[] = [];
  await deps.reader.read(topic, spans, async ({ records }) => {
    const { events, unreadable } = await decodeRecords(deps.codec, topic, records);
    const matched = events.filter((event) => matchesFilter(event, filter));
    counts.read += records.length;
    counts.unreadable += unreadable;
    counts.matched += matched.length;
    if (matched.length === 0) return;
    const folded = await tx(deps.database, async (trx) => await fold.decide(trx, matched, changed));
    for (const { event, decision } of folded) {
      const bucket = bucketOf(decision);
      counts[bucket] += 1;
      if (bucket === 'superseded' || bucket === 'duplicate') continue;
      if (bucket === 'applied') byType[event.type] = (byType[event.type] ?? 0) + 1;
      if (samples.length < samplesMax) samples.push({ type: event.type, key: keyOf(event), version: versionOf(event), outcome: bucket });
    }
    if (changed.size > changedKeysMax) throw new Failure('input', 'TOO_LARGE', `More than ${changedKeysMax} lines or records would change: use \`waybill rebuild\`, or a smaller range`);
  });
  return {
    read: counts.read, matched: counts.matched, unreadable: counts.unreadable, stale: counts.superseded, duplicate: counts.duplicate,
    conflicting: counts.conflict, wouldChange: counts.applied, byType, samples, changedKeys: changed.size, changes: digestOf(changed),
  };
}

/** The same for the same winners, whatever the order of arrival. */
function digestOf(changed: ReadonlyMap<string, Versioned>): string {
  const hash = createHash('sha256');
  for (const [key, { version, ended, digest }] of [...changed].toSorted(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${key} ${version} ${String(ended)} ${digest}\n`);
  return hash.digest('hex');
}
