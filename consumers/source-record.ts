import type { SourceRecord } from './dead-letters.ts';

/** A record of kafkajs, as far as it is read. */
interface FetchedRecord {
  readonly offset: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers?: Readonly<Record<string, unknown>>;
}

/** A record as kafkajs hands it over, without what kafkajs makes of its headers. */
export function sourceRecordOf({ offset, key, value, headers = {} }: FetchedRecord): SourceRecord {
  const pairs = Object.entries(headers).flatMap(([name, given]) => (Array.isArray(given) ? given : [given]).flatMap((one) => headerOf(name, one)));
  return { offset: Number(offset), key, value, headers: pairs };
}

/**
 * A header as it stands on the record. Kafka allows a value of null, which kafkajs does not type; and under names such as
 * `constructor` kafkajs hands out what every object has of itself: neither may stop a partition (I17).
 */
function headerOf(name: string, value: unknown): (readonly [name: string, value: Buffer])[] {
  if (value === null) return [[name, Buffer.alloc(0)]];
  return typeof value === 'string' || Buffer.isBuffer(value) ? [[name, Buffer.from(value)]] : [];
}
