import type { TopicName } from '../../schemas/topics.ts';

/** A part of one partition: from `from` until just before `to`. */
export interface Span {
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

/** What stands in a partition: the first offset, and the one that the next record will get. */
export interface PartitionLog {
  readonly partition: number;
  readonly start: number;
  readonly end: number;
}

export interface LogRecord {
  readonly offset: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

/** Records of one partition in their order; all before `next` have been handed over. */
export interface LogBatch {
  readonly partition: number;
  readonly records: readonly LogRecord[];
  readonly next: number;
}

/**
 * Reads the log without touching any live group: each call of `read` has an ephemeral one, which it deletes. Implemented by
 * adapters/kafka. @throws Failure dependency UNAVAILABLE
 */
export interface RangeReader {
  clusterId(): Promise<string>;
  partitions(topic: TopicName): Promise<PartitionLog[]>;
  /** By partition, the first offset at or after a moment in milliseconds; the end where there is none. */
  offsetsAt(topic: TopicName, time: number): Promise<Map<number, number>>;
  /** Hands over every record of the spans, one batch after the other for each partition. Ends when all are read, or rejects with what `onBatch` rejects with. */
  read(topic: TopicName, spans: readonly Span[], onBatch: (batch: LogBatch) => Promise<void>): Promise<void>;
}
