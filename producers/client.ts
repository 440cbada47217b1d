import type { Consumer, ConsumerCrashEvent, EachBatchPayload, Kafka, KafkaMessage } from 'kafkajs';

import { asFailure } from '../process/failure.ts';
import { pause } from '../process/pause.ts';
import { createCodec, type Codec, type KnownSchemas, type SchemaRegistry } from '../schemas/codec.ts';
import { versionOf, type EventTypeOn, type TypedEvent } from '../schemas/topics.ts';
import { createNewestSeen, type NewestSeen } from './newest-seen.ts';

/** What waybill says of a workspace. Switch on `type`. */
export type AssetsEvent = TypedEvent<EventTypeOn<'waybill.assets'>>;

/** Where the reader says what went wrong; pino's and console's methods fit. */
export interface ReaderLog {
  /** Something is unwell and is tried again by itself. */
  warn(details: object, message: string): void;
  /** A person must act: a record could not be read and was passed over. */
  error(details: object, message: string): void;
}

export interface ReadAssetsOptions {
  readonly kafka: Kafka;
  readonly registry: SchemaRegistry;
  /** What the registry has said before, so that a start while it is down works: `createKnownSchemas` over your own database. */
  readonly known?: KnownSchemas;
  /** Consumer group; processes with the same one share the workspaces. It begins at the beginning of the topic. */
  readonly groupId: string;
  /** Put before the topic. Default ''. */
  readonly topicPrefix?: string;
  /**
   * Called once after the other for the events of a workspace, at least once for each. When it rejects, with whatever, the
   * event comes again after a pause that grows from 0.1 to 5 s, and other partitions go on meanwhile.
   */
  readonly onEvent: (event: AssetsEvent) => Promise<void>;
  /** True: also events that are not newer than the last one of their workspace (repeats after a crash). Default false. */
  readonly repeats?: boolean;
  readonly log: ReaderLog;
  /** Aborted: the event in hand is finished, the group left, and the promise resolves. */
  readonly signal: AbortSignal;
  /** How long the group waits for a silent member. Default 30,000 ms; the broker's least is 6,000. */
  readonly sessionTimeoutMs?: number;
}

const topic = 'waybill.assets';
/** Longest that a fetch waits for a record, and a stop for a fetch. */
const fetchWaitMs = 200;
const heartbeatMs = 2000;
const metadataMaxAgeMs = 30_000;
/** Events after which the position is committed within a batch. */
const commitEvery = 100;
const pauseMinMs = 100;
const pauseMaxMs = 5000;
/** Workspaces whose newest version is remembered: about 15 MB. */
const rememberedMax = 100_000;

/** Pause after the first, second, … failure in a row, in milliseconds. */
const pauseMs = (failures: number): number => Math.min(pauseMinMs * 2 ** (failures - 1), pauseMaxMs);

/**
 * Reads waybill.assets typed, until the signal is aborted: at least once, in order per workspace, positions in Kafka.
 * Whatever `onEvent` throws is waited for and tried again, a record that can never be read is logged as an error and
 * passed over, and a crashed kafkajs consumer is replaced: nothing ends the reading silently. Rejects only for options that
 * kafkajs refuses, such as an empty group.
 */
export async function readAssets(options: ReadAssetsOptions): Promise<void> {
  const { kafka, registry, known, signal, log } = options;
  const codec = createCodec({ registry, ...(known && { known }) });
  const seen = createNewestSeen(rememberedMax);
  let failures = 0;
  while (!signal.aborted) {
    const startedAt = performance.now();
    const consumer = kafka.consumer({
      groupId: options.groupId,
      sessionTimeout: options.sessionTimeoutMs ?? 30_000,
      heartbeatInterval: heartbeatMs,
      metadataMaxAge: metadataMaxAgeMs,
      maxWaitTimeInMs: fetchWaitMs,
      allowAutoTopicCreation: false,
      // The budget is for the life of the object and success does not refill it; when it is spent, the object is replaced.
      retry: { retries: 10, restartOnFailure: async () => await Promise.resolve(false) },
    });
    const crash = await runConsumer(consumer, options, { codec, seen });
    if (crash === undefined) return;
    failures = performance.now() - startedAt > pauseMaxMs ? 1 : failures + 1;
    log.warn({ error: crash.message, afterMs: pauseMs(failures) }, 'the Kafka consumer crashed and is replaced');
    await pause(pauseMs(failures), signal);
  }
}

interface Reader {
  readonly codec: Codec;
  readonly seen: NewestSeen;
}

/** The life of one kafkajs consumer. Resolves with what crashed it, or undefined when the signal was aborted. */
async function runConsumer(consumer: Consumer, options: ReadAssetsOptions, reader: Reader): Promise<Error | undefined> {
  let end: (crash?: Error) => void = () => undefined;
  const over = new Promise<Error | undefined>((resolve) => { end = resolve; });
  const stop = (): void => { end(); };
  options.signal.addEventListener('abort', stop, { once: true });
  if (options.signal.aborted) stop();
  const failures = new Map<number, number>();
  const start = async (): Promise<void> => {
    consumer.on(consumer.events.CRASH, ({ payload }: ConsumerCrashEvent) => { end(payload.error); });
    await consumer.connect();
    await consumer.subscribe({ topics: [(options.topicPrefix ?? '') + topic], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: 4,
      eachBatch: async (payload) => { await readBatch(payload, options, reader, failures); },
    });
  };
  const started = start().catch((error: unknown) => { end(asFailure(error)); });
  try {
    return await over;
  } finally {
    options.signal.removeEventListener('abort', stop);
    await consumer.disconnect().catch(() => undefined);
    await started;
    await consumer.disconnect().catch(() => undefined);
  }
}

/** Throws only what kafkajs's own calls throw: any other error would end its consumer for good. */
async function readBatch(payload: EachBatchPayload, options: ReadAssetsOptions, reader: Reader, failures: Map<number, number>): Promise<void> {
  const { batch: { partition, messages } } = payload;
  const goesOn = (): boolean => payload.isRunning() && !payload.isStale() && !options.signal.aborted;
  let uncommitted = 0;
  for (const message of messages) {
    if (!goesOn()) break;
    const failure = await whileBeating(payload, async () => await readMessage(message, partition, options, reader));
    if (failure !== undefined) {
      const failed = (failures.get(partition) ?? 0) + 1;
      failures.set(partition, failed);
      options.log.warn({ partition, offset: message.offset, failures: failed, afterMs: pauseMs(failed), error: failure.message }, 'an event was not taken and comes again');
      const resume = payload.pause();
      setTimeout(() => {
        // After a rebalance or a stop there may be nothing to resume.
        try { resume(); } catch { /* the next assignment begins unpaused */ }
      }, pauseMs(failed)).unref();
      break;
    }
    failures.delete(partition);
    payload.resolveOffset(message.offset);
    uncommitted += 1;
    if (uncommitted % commitEvery === 0) await commit(payload, message);
    await payload.heartbeat();
  }
  const last = messages[uncommitted - 1];
  if (last !== undefined) await commit(payload, last);
}

async function commit({ batch: { topic: name, partition }, ...payload }: EachBatchPayload, { offset }: KafkaMessage): Promise<void> {
  await payload.commitOffsetsIfNecessary({ topics: [{ topic: name, partitions: [{ partition, offset: String(Number(offset) + 1) }] }] });
}

/** Undefined: done with this message. An error: it has to come again. */
async function readMessage({ key, value, offset }: KafkaMessage, partition: number, { onEvent, repeats = false, log }: ReadAssetsOptions, { codec, seen }: Reader): Promise<Error | undefined> {
  let event: AssetsEvent;
  try {
    event = await codec.decode(topic, key, value) as AssetsEvent; // the codec refuses what is not of this topic
  } catch (error) {
    const failure = asFailure(error);
    if (failure.kind !== 'poison') return failure;
    log.error({ partition, offset, code: failure.code, cure: failure.cure, error: failure.message }, 'a record of waybill.assets cannot be read and is passed over');
    return undefined;
  }
  const { workspace_id } = event.event;
  if (!repeats && !seen.isNews(workspace_id, versionOf(event))) return undefined;
  try {
    await onEvent(event);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
  seen.saw(workspace_id, versionOf(event));
  return undefined;
}

/** Heartbeats while `work` takes long, which kafkajs does not do. A lost membership is thrown once the work is done. */
async function whileBeating<T>(payload: EachBatchPayload, work: () => Promise<T>): Promise<T> {
  let lost: Error | undefined;
  const beats = setInterval(() => { payload.heartbeat().catch((error: Error) => { lost ??= error; }); }, heartbeatMs);
  try {
    const result = await work();
    if (lost !== undefined) throw lost;
    return result;
  } finally {
    clearInterval(beats);
  }
}
