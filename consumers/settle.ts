import { channel } from 'node:diagnostics_channel';

import type { BatchResult } from '../entitlements/decide.ts';
import { tx, type Database, type Transaction } from '../process/database.ts';
import { asFailure, type Failure } from '../process/failure.ts';
import type { Logger } from '../process/log.ts';
import type { Codec } from '../schemas/codec.ts';
import type { EventTypeOn, TopicName, TypedEvent } from '../schemas/topics.ts';
import { closeOvertaken, subjectOf } from './close-overtaken.ts';
import { appendDeadLetters, type RefusedRecord, type SourceRecord } from './dead-letters.ts';
import { lockPosition, movePosition, PositionLost, type Counts, type Place } from './positions.ts';

/** What a consumer is: a topic, and what its events do in the transaction that moves the position. */
export interface ConsumerDefinition<T extends TopicName = TopicName> {
  /** Names the consumer group and the stored positions; for ever. */
  readonly name: string;
  readonly topic: T;
  readonly apply: (trx: Transaction, events: readonly TypedEvent<EventTypeOn<T>>[]) => Promise<BatchResult>;
}

/** Where a batch stands: everything before `held` is settled; after it, the next record is `next`. */
export interface Batch {
  readonly place: Place;
  readonly held: number;
  readonly records: readonly SourceRecord[];
  /** Beyond the last record; more than its offset + 1 where the log has gaps. */
  readonly next: number;
}

/** What became of a batch. `position` is where the consumer stands when that is known. */
export type Settled =
  | { readonly kind: 'moved'; readonly position: number }
  /** Somebody else moved the position: read it again. */
  | { readonly kind: 'lost' }
  /** Something that we depend on is unwell. What is committed is read back before going on (I3). */
  | { readonly kind: 'pause'; readonly failure: Failure }
  | { readonly kind: 'stop'; readonly failure: Failure };

/** Published on the diagnostics channel of the same name after each commit: the one seam for metrics and tests. */
export interface BatchSettled {
  readonly place: Place;
  readonly from: number;
  readonly position: number;
  readonly counts: Counts;
  /** From decoding to the commit's answer. */
  readonly ms: number;
}

export const batchChannel = channel('waybill:consumer:batch');

export interface SettleOptions {
  readonly database: Database;
  readonly codec: Pick<Codec, 'decode'>;
  readonly log: Logger;
}

/**
 * The one switch from an outcome to an action. "Would the next message fail the same way? Then it is not poison": a
 * dependency dead-letters nothing (I17), a bug of ours stops the process before it spoils more.
 */
export function actionFor(failure: Failure): 'pause' | 'dead-letter' | 'stop' {
  switch (failure.kind) {
    case 'dependency':
      return 'pause';
    case 'poison':
    case 'subject':
      return 'dead-letter';
    case 'input':
    case 'fault':
      return 'stop';
  }
}

interface Accepted<T extends TopicName> {
  readonly record: SourceRecord;
  readonly event: TypedEvent<EventTypeOn<T>>;
}

type Decoded<T extends TopicName> = Accepted<T> | RefusedRecord;

/**
 * Settles a batch in one transaction: decoded events applied, poison put away, the position moved (A3, A4). Every record
 * goes into exactly one bucket (I4). A failure in the middle of decoding that is not of the record itself cuts the batch
 * there: what came before is settled, and nothing is skipped. Never throws.
 */
export async function settleBatch<T extends TopicName>(definition: ConsumerDefinition<T>, options: SettleOptions, batch: Batch): Promise<Settled> {
  const started = performance.now();
  const { decoded, failure } = await decodeUntilFailure(definition, options.codec, batch.records);
  const cut = failure === null ? undefined : batch.records[decoded.length];
  if (failure === null || decoded.length > 0) {
    const settled = await commit(definition, options, { ...batch, next: cut?.offset ?? batch.next }, decoded, started);
    if (failure === null || settled.kind !== 'moved') return settled;
  }
  return actionFor(failure) === 'pause' ? { kind: 'pause', failure } : { kind: 'stop', failure };
}

async function decodeUntilFailure<T extends TopicName>(
  { topic }: ConsumerDefinition<T>, codec: Pick<Codec, 'decode'>, records: readonly SourceRecord[],
): Promise<{ decoded: Decoded<T>[]; failure: Failure | null }> {
  const decoded: Decoded<T>[] = [];
  for (const record of records) {
    try {
      // Awaiting only what is not at hand saves a turn of the event loop a record.
      const result = codec.decode(topic, record.key, record.value);
      const event = result instanceof Promise ? await result : result;
      decoded.push({ record, event } as Accepted<T>); // the codec refuses events of other topics
    } catch (thrown) {
      const refusal = asFailure(thrown);
      if (actionFor(refusal) !== 'dead-letter') return { decoded, failure: refusal };
      decoded.push({ record, refusal });
    }
  }
  return { decoded, failure: null };
}

async function commit<T extends TopicName>(
  definition: ConsumerDefinition<T>, options: SettleOptions, batch: Omit<Batch, 'records'>, decoded: readonly Decoded<T>[], started: number,
): Promise<Settled> {
  const { place, held, next } = batch;
  try {
    const { counts, conflicts } = await tx(options.database, async (trx) => await applyAll(trx, definition, batch, decoded));
    for (const conflict of conflicts) {
      options.log.warn({ consumer: place.consumer, code: 'CONFLICT', ...conflict }, 'two contents claim the same version; the order decided');
    }
    const settled: BatchSettled = { place, from: held, position: next, counts, ms: performance.now() - started };
    batchChannel.publish(settled);
    return { kind: 'moved', position: next };
  } catch (thrown) {
    if (thrown instanceof PositionLost) return { kind: 'lost' };
    const failure = asFailure(thrown);
    switch (actionFor(failure)) {
      case 'pause':
        return { kind: 'pause', failure };
      case 'stop':
        return { kind: 'stop', failure };
      case 'dead-letter':
        return await isolate(definition, options, batch, decoded, started, failure);
    }
  }
}

const nothingApplied: BatchResult = { counts: { applied: 0, superseded: 0, duplicate: 0, conflict: 0 }, applied: [], conflicts: [] };

/** The writes of one batch, in the lock order: position → what the events touch → pending; the position moves last. */
async function applyAll<T extends TopicName>(
  trx: Transaction, definition: ConsumerDefinition<T>, { place, held, next }: Omit<Batch, 'records'>, decoded: readonly Decoded<T>[],
): Promise<{ counts: Counts; conflicts: BatchResult['conflicts'] }> {
  await lockPosition(trx, place, held);
  const refused = decoded.filter((one) => 'refusal' in one);
  await appendDeadLetters(trx, place, refused);
  const accepted = decoded.filter((one) => 'event' in one);
  const { counts, applied, conflicts } = accepted.length === 0 ? nothingApplied : await definition.apply(trx, accepted.map(({ event }) => event));
  await closeOvertaken(trx, place, accepted.map(({ record, event }, n) => ({ offset: record.offset, event, isApplied: applied[n] === true })));
  const all: Counts = { ...counts, deadLettered: refused.length };
  await movePosition(trx, place, next, all);
  return { counts: all, conflicts };
}

/** Applying refused one of them and did not say which: each for itself, so that the one delays nothing (I17). */
async function isolate<T extends TopicName>(
  definition: ConsumerDefinition<T>, options: SettleOptions, { place, held, next }: Omit<Batch, 'records'>, decoded: readonly Decoded<T>[],
  started: number, failure: Failure,
): Promise<Settled> {
  const [only] = decoded;
  if (decoded.length === 1 && only !== undefined) {
    if ('refusal' in only) return { kind: 'stop', failure };
    return await commit(definition, options, { place, held, next }, [{ record: only.record, refusal: failure, subject: subjectOf(only.event) }], started);
  }
  let position = held;
  for (const [index, one] of decoded.entries()) {
    const after = decoded[index + 1]?.record.offset ?? next;
    const settled = await commit(definition, options, { place, held: position, next: after }, [one], started);
    if (settled.kind !== 'moved') return settled;
    position = after;
  }
  return { kind: 'moved', position };
}
