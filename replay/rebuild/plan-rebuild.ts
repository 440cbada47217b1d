import { asDatabaseFailure, type Database } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import type { Span } from '../log/range-reader.ts';
import { decodeRecords, type ReplayDeps } from '../log/replay-deps.ts';
import { replayable, type ReplayTopic } from '../log/replay-request.ts';
import { insertPlan, type Run, type RunItem } from '../run/runs.ts';
import { compareWithShadow, type Comparison, type Difference } from './compare.ts';
import { createShadow, dropShadow, foldIntoShadow, sumUpShadow, type Shadow } from './shadow.ts';

export interface RebuildDeps extends ReplayDeps {
  readonly topicPrefix: string;
}

/** What a rebuild found. */
export interface RebuildPlan {
  readonly clusterId: string;
  readonly events: number;
  readonly unreadable: number;
  /** Events a second, read, decoded and folded. */
  readonly perSecond: number;
  readonly tables: Comparison['tables'];
  readonly hasMore: boolean;
  /** Keys that live traffic changed while both sides were compared, again and again: not judged. */
  readonly moving: number;
}

/** Looks at a log that goes on; each reads what came since the one before. */
const roundsMax = 6;
/** Records that are folded in one statement. */
const foldMax = 10_000;

/**
 * Folds the whole log into shadow tables, up to where the live consumers stand, and compares them with the live ones, digest
 * for digest (D2, I19). Writes nothing but the plan; the differing rows are its items, each with both sides.
 * @throws Failure input NOT_FOUND (no consumer has a position), PLAN_CHANGED (positions of another cluster); dependency UNAVAILABLE
 */
export async function planRebuild(deps: RebuildDeps, reason: string, report: (line: string) => void = () => undefined): Promise<Run> {
  const clusterId = await deps.reader.clusterId();
  const shadow = await createShadow(deps.database);
  try {
    const folding = new Folding(deps, shadow, clusterId);
    let before: Comparison | undefined;
    let moving: Difference[] = [];
    for (let round = 1; ; round += 1) {
      const position = await folding.foldUpToLive();
      report(`folded ${folding.events} events at ${folding.perSecond}/s; comparing`);
      await sumUpShadow(deps.database, shadow);
      const now = await compareWithShadow(deps.database, shadow);
      const isAtRest = (await folding.livePosition()) === position;
      // A live row that did not change between two comparisons is in both as far as the log was folded.
      const steady = isAtRest ? now.differences : now.differences.filter((one) => before?.differences.some((other) => sameSides(one, other)) === true);
      moving = now.differences.filter((one) => !steady.includes(one));
      if (moving.length === 0 || round === roundsMax) {
        const { events, unreadable, perSecond } = folding;
        const plan: RebuildPlan = { clusterId, events, unreadable, perSecond, tables: now.tables, hasMore: now.hasMore, moving: moving.length };
        return await insertPlan(deps.database, { kind: 'rebuild', reason, plan, total: steady.length, items: steady.map(itemOf) });
      }
      before = now;
    }
  } finally {
    await dropShadow(deps.database, shadow);
  }
}

const sameSides = (a: Difference, b: Difference): boolean =>
  a.table === b.table && a.key === b.key && a.liveDigest === b.liveDigest && JSON.stringify(a.log) === JSON.stringify(b.log);

const itemOf = (difference: Difference, index: number): RunItem =>
  ({ line: index + 1, subject: `${difference.table}:${difference.key}`, orgId: null, state: 'planned', code: null, plan: difference, result: {} });

/** The log as far as it was folded into the shadow. */
class Folding {
  events = 0;
  unreadable = 0;
  readonly #deps: RebuildDeps;
  readonly #shadow: Shadow;
  readonly #clusterId: string;
  readonly #next = new Map<string, number>();
  #ms = 0;

  constructor(deps: RebuildDeps, shadow: Shadow, clusterId: string) {
    this.#deps = deps;
    this.#shadow = shadow;
    this.#clusterId = clusterId;
  }

  get perSecond(): number {
    return this.#ms === 0 ? 0 : Math.round((this.events / this.#ms) * 1000);
  }

  /** Out: where the live consumers stood, as text to compare. */
  async foldUpToLive(): Promise<string> {
    const positions = await readPositions(this.#deps, this.#clusterId);
    const startedAt = performance.now();
    for (const topic of replayable) await this.#fold(topic, positions);
    this.#ms += performance.now() - startedAt;
    return asText(positions);
  }

  async livePosition(): Promise<string> {
    return asText(await readPositions(this.#deps, this.#clusterId));
  }

  async #fold(topic: ReplayTopic, positions: ReadonlyMap<string, number>): Promise<void> {
    const spans: Span[] = (await this.#deps.reader.partitions(topic)).map(({ partition, start }) => {
      const place = `${topic}/${partition}`;
      return { partition, from: this.#next.get(place) ?? start, to: positions.get(place) ?? start };
    });
    await this.#deps.reader.read(topic, spans, async ({ records }) => {
      for (let from = 0; from < records.length; from += foldMax) {
        const { events, unreadable } = await decodeRecords(this.#deps.codec, topic, records.slice(from, from + foldMax));
        await foldIntoShadow(this.#deps.database, this.#shadow, topic, events);
        this.events += events.length;
        this.unreadable += unreadable;
      }
    });
    for (const { partition, to } of spans) this.#next.set(`${topic}/${partition}`, to);
  }
}

const asText = (positions: ReadonlyMap<string, number>): string => JSON.stringify([...positions].toSorted(([a], [b]) => (a < b ? -1 : 1)));

/** Where the live consumers stand in each partition. */
async function readPositions({ database, topicPrefix }: RebuildDeps, clusterId: string): Promise<Map<string, number>> {
  const rows = await ask(database, replayable.map((topic) => topicPrefix + topic));
  if (rows.length === 0) throw new Failure('input', 'NOT_FOUND', 'No consumer of the log has a position yet: there is no live state to compare with.');
  const other = rows.find((row) => row.cluster_id !== clusterId);
  if (other !== undefined) throw new Failure('input', 'PLAN_CHANGED', `The consumers' positions are of the Kafka cluster ${other.cluster_id}, but this is ${clusterId}.`);
  return new Map(rows.map(({ topic, partition, position }) => [`${topic.slice(topicPrefix.length)}/${partition}`, position]));
}

async function ask(database: Database, topics: string[]): Promise<{ topic: string; partition: number; position: number; cluster_id: string }[]> {
  try {
    const { rows } = await database.raw<{ rows: { topic: string; partition: number; position: number; cluster_id: string }[] }>(
      'select topic, partition, position, cluster_id from consumer_offsets where topic = any(?::text[])', [topics],
    );
    return rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
