import type { Consumer, ConsumerCrashEvent, ConsumerGroupJoinEvent, EachBatchPayload, Kafka, OffsetsByTopicPartition } from 'kafkajs';

import { asFailure, Failure } from '../process/failure.ts';
import { pause } from '../process/pause.ts';
import type { TopicName } from '../schemas/topics.ts';
import type { SourceRecord } from './dead-letters.ts';
import { reportLag } from './lag.ts';
import { findSetBack, readPositions, type LogRange } from './positions.ts';
import { actionFor, settleBatch, type ConsumerDefinition, type SettleOptions } from './settle.ts';
import { sourceRecordOf } from './source-record.ts';

export interface RunConsumerOptions extends SettleOptions {
  readonly kafka: Kafka;
  /** Put before the topic and the consumer group. */
  readonly topicPrefix: string;
  /** Aborted: the batch in hand is finished, the group left, and the promise resolves. */
  readonly signal: AbortSignal;
  /** How long the group waits for a silent member; the broker's least is 6 s. Default 30,000 ms. */
  readonly sessionTimeoutMs?: number;
  /** Partitions worked on at once, each on a connection of its own. Default 4. */
  readonly partitionsAtOnce?: number;
}

/** Records settled in one transaction at most (2-architecture, Limits). */
const batchMax = 1000;
/** Longest that a fetch waits for a record, and so that a stop waits for a fetch [0.1 to 0.5 s; kafkajs's default is 5 s]. */
const fetchWaitMs = 200;
/** New partitions are found within this. */
const metadataMaxAgeMs = 10_000;
const fetchBytesMax = 1024 * 1024;
const heartbeatMs = 2_000;
/** How often it is looked whether the database was set back: a batch would tell, but none may come. */
const lookBackEveryMs = 2_000;
/** Offsets in Kafka are for lag tools only; ours stand in the database. */
const commitEveryMs = 1_000;
/** Longest wait for kafkajs to let go: more than a batch that waits for a lock, less than a supervisor's patience. */
const disconnectMs = 15_000;
/** Pauses after the first, second, … failure in a row. */
const pausesMs = [100, 250, 500, 1_000, 2_000, 5_000];

/** One partition that this consumer was assigned and whose position it has read. */
interface HeldPartition {
  position: number;
  /** The log was just looked at, so that a gap before the next record is a gap and no lost log. */
  checked: boolean;
  /** performance.now() of the last commit to Kafka. */
  committedAt: number;
}

/**
 * Runs one consumer until the signal is aborted. The only loop over kafkajs 2.2.4, whose habits end here (5-pitfalls):
 * handlers never throw anything but its own errors; a consumer object that crashed or has used up its retries is replaced;
 * positions are read from the database at every assignment and moved in the transaction of the effects, with
 * compare-and-set; its silent reset of an offset out of range is noticed. Rejects with the Failure that stops the process:
 * a fault, or OFFSET_OUT_OF_RANGE.
 */
export async function runConsumer<T extends TopicName>(definition: ConsumerDefinition<T>, options: RunConsumerOptions): Promise<void> {
  const { signal, log } = options;
  let failures = 0;
  while (!signal.aborted) {
    const run = new ConsumerRun(definition, options);
    const crash = await run.done();
    if (crash === null) return;
    failures = run.progressed ? 1 : failures + 1;
    log.warn({ consumer: definition.name, failures, error: crash.message }, 'the Kafka consumer crashed and is replaced');
    await pause(pauseMs(failures), signal);
  }
}

const pauseMs = (failures: number): number => pausesMs[failures - 1] ?? 5_000;

/** The life of one kafkajs consumer object. */
class ConsumerRun<T extends TopicName> {
  /** Whether any batch was settled. */
  progressed = false;
  readonly #definition: ConsumerDefinition<T>;
  readonly #options: RunConsumerOptions;
  readonly #topic: string;
  readonly #consumer: Consumer;
  readonly #over = Promise.withResolvers<Error | null>();
  /** Replaced as a whole at every assignment: a handler that outlives its assignment holds an entry that is no longer here. */
  #held = new Map<number, HeldPartition>();
  #failures = new Map<number, number>();
  #clusterId = '';
  #ended = false;

  constructor(definition: ConsumerDefinition<T>, options: RunConsumerOptions) {
    this.#definition = definition;
    this.#options = options;
    this.#topic = options.topicPrefix + definition.topic;
    this.#consumer = options.kafka.consumer({
      groupId: `${options.topicPrefix}waybill.${definition.name}`,
      sessionTimeout: options.sessionTimeoutMs ?? 30_000,
      heartbeatInterval: heartbeatMs,
      metadataMaxAge: metadataMaxAgeMs,
      maxWaitTimeInMs: fetchWaitMs,
      maxBytesPerPartition: fetchBytesMax,
      allowAutoTopicCreation: false,
      // The budget is for the life of the object and success does not refill it; when it is spent, the object is replaced.
      retry: { retries: 10, restartOnFailure: async () => false },
    });
  }

  /** Resolves null when the signal was aborted, with what crashed the object otherwise; rejects with what stops the process. */
  async done(): Promise<Error | null> {
    const { signal } = this.#options;
    const stop = (): void => { this.#over.resolve(null); };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const looks = setInterval(() => { void this.#lookBack(); }, lookBackEveryMs);
    try {
      this.#consumer.on(this.#consumer.events.GROUP_JOIN, (event) => { this.#onAssigned(event); });
      this.#consumer.on(this.#consumer.events.CRASH, ({ payload }: ConsumerCrashEvent) => { this.#over.resolve(payload.error); });
      this.#start().catch((error: unknown) => { this.#over.resolve(asFailure(error)); });
      return await this.#over.promise;
    } finally {
      this.#ended = true;
      clearInterval(looks);
      signal.removeEventListener('abort', stop);
      // A broker that went silent must not keep the process from ending; what is uncommitted is nobody's loss.
      const waiting = new AbortController();
      const patience = pause(disconnectMs, waiting.signal);
      await Promise.race([this.#consumer.disconnect().catch(() => undefined), patience]);
      waiting.abort();
    }
  }

  async #start(): Promise<void> {
    await this.#consumer.connect();
    if (this.#ended) return await this.#consumer.disconnect();
    await this.#consumer.subscribe({ topics: [this.#topic], fromBeginning: true });
    await this.#consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: this.#options.partitionsAtOnce ?? 4,
      eachBatch: async (payload) => { await this.#onBatch(payload); },
    });
  }

  /** Runs before the first fetch of a new assignment: nothing is fetched until the positions are read. */
  #onAssigned({ payload }: ConsumerGroupJoinEvent): void {
    const partitions = payload.memberAssignment[this.#topic] ?? [];
    // Their lag is told by whoever has them now.
    for (const partition of [...this.#held.keys(), ...this.#failures.keys()]) reportLag(this.#definition.name, { partition, highWatermark: '0' }, 0);
    this.#held = new Map();
    this.#failures = new Map();
    if (partitions.length > 0) this.#readPositions(partitions, 0);
  }

  /** Pauses the partitions until their positions are read from the database and looked up in the log, then goes on there. */
  #readPositions(partitions: readonly number[], afterMs: number): void {
    const assignment = this.#held;
    const isCurrent = (): boolean => assignment === this.#held && !this.#ended;
    for (const partition of partitions) assignment.delete(partition);
    try {
      this.#consumer.pause([{ topic: this.#topic, partitions: [...partitions] }]);
    } catch { return; /* the consumer object is going down, and says so by its CRASH */ }
    const read = async (): Promise<void> => {
      await pause(afterMs, this.#options.signal);
      if (!isCurrent() || this.#options.signal.aborted) return;
      const log = await this.#readLog(partitions);
      const place = { consumer: this.#definition.name, topic: this.#topic, clusterId: this.#clusterId };
      const positions = await readPositions(this.#options.database, place, log);
      if (!isCurrent()) return;
      for (const [partition, position] of positions) {
        assignment.set(partition, { position, checked: true, committedAt: -Infinity });
        this.#consumer.seek({ topic: this.#topic, partition, offset: String(position) });
      }
      this.#consumer.resume([{ topic: this.#topic, partitions: [...partitions] }]);
    };
    read().catch((thrown: unknown) => {
      if (!isCurrent() || this.#options.signal.aborted) return;
      const failure = asKafkaFailure(thrown);
      if (actionFor(failure) === 'pause') this.#pause(partitions, failure);
      else this.#over.reject(failure);
    });
  }

  /** Held positions are committed and only grow, so one that is stored below them was set back (I26). */
  async #lookBack(): Promise<void> {
    const assignment = this.#held;
    const held = new Map([...assignment].map(([partition, { position }]) => [partition, position]));
    const lost = await findSetBack(this.#options.database, { consumer: this.#definition.name, topic: this.#topic }, held).catch(() => []);
    const ours = lost.filter((partition) => assignment === this.#held && assignment.has(partition));
    if (ours.length > 0 && !this.#ended) this.#readPositions(ours, 0);
  }

  #pause(partitions: readonly number[], failure: Failure): void {
    const failures = Math.max(...partitions.map((partition) => this.#failures.get(partition) ?? 0)) + 1;
    for (const partition of partitions) this.#failures.set(partition, failures);
    const afterMs = pauseMs(failures);
    this.#options.log.warn(
      { consumer: this.#definition.name, topic: this.#topic, partitions, code: failure.code, failures, afterMs, error: failure.message },
      'paused: something that this consumer depends on is unwell',
    );
    this.#readPositions(partitions, afterMs);
  }

  /** What the log holds of the partitions. A client for each look, because an idle one costs CPU all the time. */
  async #readLog(partitions: readonly number[]): Promise<Map<number, LogRange>> {
    const admin = this.#options.kafka.admin();
    try {
      await admin.connect();
      const [{ clusterId }, offsets] = await Promise.all([admin.describeCluster(), admin.fetchTopicOffsets(this.#topic)]);
      this.#clusterId = clusterId;
      return new Map(offsets.filter(({ partition }) => partitions.includes(partition))
        .map(({ partition, low, high }) => [partition, { start: Number(low), end: Number(high) }]));
    } finally {
      await admin.disconnect().catch(() => undefined);
    }
  }

  /** Throws only what kafkajs's own calls threw, for it to handle; anything else would be the end of the consumer. */
  async #onBatch(payload: EachBatchPayload): Promise<void> {
    try {
      await this.#settleAll(payload);
    } catch (thrown) {
      if (isKafkaError(thrown)) throw thrown;
      this.#over.reject(asFailure(thrown));
    }
  }

  async #settleAll(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    const { partition } = batch;
    const assignment = this.#held;
    const held = assignment.get(partition);
    const isOurs = (): boolean =>
      assignment === this.#held && assignment.get(partition) === held && payload.isRunning() && !payload.isStale() && !this.#options.signal.aborted;
    if (held === undefined || !isOurs()) return;
    reportLag(this.#definition.name, batch, held.position);

    const records = batch.messages.map(sourceRecordOf).filter(({ offset }) => offset >= held.position);
    const isElsewhere = records.length < batch.messages.length || records[0]?.offset !== held.position;
    if (isElsewhere && (!held.checked || records.length === 0)) {
      // A gap, or kafkajs has reset an offset out of range without a word: only the log can tell.
      this.#readPositions([partition], 0);
      return;
    }
    const end = Number(batch.lastOffset()) + 1;
    for (let from = 0; from < records.length && isOurs(); from += batchMax) {
      const next = records[from + batchMax]?.offset ?? end;
      const isSettled = await this.#settle(partition, held, records.slice(from, from + batchMax), next, payload);
      if (!isSettled || !isOurs()) return;
      reportLag(this.#definition.name, batch, held.position);
      payload.resolveOffset(String(next - 1));
      await this.#commitToKafka(partition, held, payload);
      await payload.heartbeat();
    }
  }

  /** True: settled, go on. Heartbeats go on meanwhile, because a transaction may wait for a lock. */
  async #settle(
    partition: number, held: HeldPartition, records: readonly SourceRecord[], next: number, payload: EachBatchPayload,
  ): Promise<boolean> {
    let beatFailure: Error | undefined;
    const beats = setInterval(() => { payload.heartbeat().catch((error: Error) => { beatFailure = error; }); }, heartbeatMs);
    const place = { consumer: this.#definition.name, topic: this.#topic, partition, clusterId: this.#clusterId };
    const settled = await settleBatch(this.#definition, this.#options, { place, held: held.position, records, next })
      .catch((thrown: unknown) => ({ kind: 'stop' as const, failure: asFailure(thrown) }))
      .finally(() => { clearInterval(beats); });
    if (settled.kind === 'moved') {
      held.position = settled.position;
      held.checked = false;
      this.#failures.delete(partition);
      this.progressed = true;
    } else if (settled.kind === 'stop') {
      this.#over.reject(settled.failure);
    } else if (this.#held.get(partition) === held) {
      if (settled.kind === 'lost') this.#readPositions([partition], 0);
      else this.#pause([partition], settled.failure);
    }
    if (beatFailure !== undefined) throw beatFailure;
    return settled.kind === 'moved';
  }

  async #commitToKafka(partition: number, held: HeldPartition, { batch, commitOffsetsIfNecessary: commit }: Committing): Promise<void> {
    const isCaughtUp = held.position >= Number(batch.highWatermark);
    if (!isCaughtUp && performance.now() - held.committedAt < commitEveryMs) return;
    held.committedAt = performance.now();
    await commit({ topics: [{ topic: this.#topic, partitions: [{ partition, offset: String(held.position) }] }] }).catch((error: unknown) => {
      this.#options.log.debug({ consumer: this.#definition.name, partition, error }, 'the offset for lag tools was not taken');
    });
  }
}

/** kafkajs makes it a function that needs no `this`. */
interface Committing {
  readonly batch: EachBatchPayload['batch'];
  readonly commitOffsetsIfNecessary: (this: void, offsets: OffsetsByTopicPartition) => Promise<void>;
}

/** What kafkajs throws, when it does not crash, is Kafka being unwell. */
function asKafkaFailure(thrown: unknown): Failure {
  const failure = asFailure(thrown);
  return isKafkaError(thrown) ? new Failure('dependency', 'UNAVAILABLE', `Kafka: ${failure.message}`, { cause: thrown }) : failure;
}

const isKafkaError = (thrown: unknown): thrown is Error => thrown instanceof Error && thrown.name.startsWith('KafkaJS');
