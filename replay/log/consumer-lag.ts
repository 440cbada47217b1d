import { asDatabaseFailure, type Database } from '../../process/database.ts';
import type { RangeReader } from './range-reader.ts';
import { replayable } from './replay-request.ts';

/** Ends of the log as they were a while ago. */
interface Sample {
  readonly at: number;
  readonly ends: ReadonlyMap<string, number>;
}

/** Looks at Kafka are this far apart, and so is the answer's precision. */
const lookEveryMs = 2_000;
const samplesMax = 300;

/**
 * How long ago the live consumers had read to the end of the log, in milliseconds: the age of the oldest record that waits for
 * them. Under steady traffic they are never at its end, so each end is remembered until they have passed it.
 */
export function createConsumerLag({ database, reader, topicPrefix }: { readonly database: Database; readonly reader: RangeReader; readonly topicPrefix: string }): () => Promise<number> {
  let samples: Sample[] = [];
  return async () => {
    const now = performance.now();
    if (now - (samples.at(-1)?.at ?? -Infinity) >= lookEveryMs) samples = [...samples, { at: now, ends: await readEnds(reader) }].slice(-samplesMax);
    const positions = await readPositions(database, topicPrefix);
    const isPassed = ({ ends }: Sample): boolean => [...ends].every(([place, end]) => (positions.get(place) ?? 0) >= end);
    const passed = samples.findLastIndex(isPassed);
    // What they have passed is history; the one after it is what they are behind of.
    if (passed > 0) samples = samples.slice(passed);
    const behind = samples[samples.findIndex((sample) => !isPassed(sample))];
    return behind === undefined ? 0 : now - behind.at;
  };
}

async function readEnds(reader: RangeReader): Promise<Map<string, number>> {
  const ends = new Map<string, number>();
  for (const topic of replayable) for (const { partition, end } of await reader.partitions(topic)) ends.set(`${topic}/${partition}`, end);
  return ends;
}

async function readPositions(database: Database, topicPrefix: string): Promise<Map<string, number>> {
  try {
    const { rows } = await database.raw<{ rows: { topic: string; partition: number; position: number }[] }>(
      'select topic, partition, position from consumer_offsets where topic = any(?::text[])', [replayable.map((topic) => topicPrefix + topic)],
    );
    return new Map(rows.map(({ topic, partition, position }) => [`${topic.slice(topicPrefix.length)}/${partition}`, position]));
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
