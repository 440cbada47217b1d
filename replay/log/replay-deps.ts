import type { Database } from '../../process/database.ts';
import { asFailure } from '../../process/failure.ts';
import type { Codec } from '../../schemas/codec.ts';
import type { TopicName, TypedEvent } from '../../schemas/topics.ts';
import type { LogRecord, RangeReader } from './range-reader.ts';

/** What reading the log takes. */
export interface ReplayDeps {
  readonly database: Database;
  readonly codec: Pick<Codec, 'decode'>;
  readonly reader: RangeReader;
}

/** Records as events. What can never be read is counted and left to its dead letter; a registry that is away is thrown (I17). */
export async function decodeRecords(codec: Pick<Codec, 'decode'>, topic: TopicName, records: readonly LogRecord[]): Promise<{ events: TypedEvent[]; unreadable: number }> {
  const events: TypedEvent[] = [];
  let unreadable = 0;
  for (const { key, value } of records) {
    try {
      const result = codec.decode(topic, key, value);
      events.push(result instanceof Promise ? await result : result);
    } catch (error) {
      if (asFailure(error).kind !== 'poison') throw error;
      unreadable += 1;
    }
  }
  return { events, unreadable };
}
