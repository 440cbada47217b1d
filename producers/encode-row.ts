import { Failure } from '../process/failure.ts';
import type { Codec } from '../schemas/codec.ts';
import { isEventType, isTopic, keyOf, topicOf, topics, type TopicName, type TypedEvent } from '../schemas/topics.ts';
import type { OutboxRow, RefusedRow } from './outbox-rows.ts';
import { decodeHeaders } from './outbox.ts';

/** A row as it goes to Kafka. */
export interface Outgoing {
  readonly row: OutboxRow;
  readonly topic: TopicName;
  readonly key: Buffer;
  readonly value: Buffer;
  readonly headers: Readonly<Record<string, string | Buffer>>;
  /** About what it takes in a record batch. */
  readonly bytes: number;
}

/** Bytes of a record beside its key, value and headers, and of a header beside its name and value; both generous. */
const recordFrame = 48;
const headerFrame = 10;
/** The frame of a record batch, and some. */
const batchFrame = 512;

/** Largest batch of records that the topic takes: the broker's limit is on the batch, not on the record. */
export const batchBytesMax = (topic: TopicName): number => topics[topic].maxMessageBytes - batchFrame;

/**
 * Validates and encodes rows. Those that can never be published come back refused; a dependency that is unwell is thrown,
 * and nothing is refused for it (I17).
 */
export async function encodeRows(rows: readonly OutboxRow[], codec: Codec): Promise<{ outgoing: Outgoing[]; refused: RefusedRow[] }> {
  const outgoing: Outgoing[] = [];
  const refused: RefusedRow[] = [];
  for (const row of rows) {
    try {
      outgoing.push(await encodeRow(row, codec));
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== 'poison') throw error;
      refused.push({ row, refusal: error });
    }
  }
  return { outgoing, refused };
}

async function encodeRow(row: OutboxRow, codec: Codec): Promise<Outgoing> {
  const { topic } = row;
  if (!isTopic(topic)) throw poison('FIELD_INVALID', `topic should be one of ${Object.keys(topics).join(', ')}, but is ${shown(topic)}`);
  const value = row.value ?? await encodeBody(row, codec);
  const headers = { ...decodeHeaders(row.headers), ...(row.value === null && { 'event-type': row.type, 'event-id': row.eventId }) };
  const key = Buffer.from(row.key);
  const bytes = Object.entries(headers).reduce(
    (sum, [name, header]) => sum + headerFrame + Buffer.byteLength(name) + Buffer.byteLength(header), recordFrame + key.length + value.length,
  );
  if (bytes > batchBytesMax(topic)) {
    throw poison('EVENT_TOO_LARGE', `The record would be ${bytes} bytes, and ${topic} takes ${batchBytesMax(topic)}. Send shorter headers or bytes.`);
  }
  return { row, topic, key, value, headers, bytes };
}

async function encodeBody({ type, topic, key, eventId, body }: OutboxRow, codec: Codec): Promise<Buffer> {
  if (!isEventType(type)) throw poison('FIELD_INVALID', `type should be an event of waybill, but is ${shown(type)}`);
  if (topicOf(type) !== topic) throw poison('SCHEMA_MISMATCH', `A ${type} belongs on ${topicOf(type)}, not on ${topic}.`);
  const json: unknown = JSON.parse(body ?? 'null');
  const event = { type, event: json } as TypedEvent; // the codec looks at every field before it writes
  const value = await codec.encode(event);
  if (keyOf(event) !== key) throw poison('KEY_MISMATCH', `The key is ${shown(key)}, but this ${type} belongs under ${JSON.stringify(keyOf(event))}.`);
  if (event.event.event_id !== eventId) throw poison('FIELD_INVALID', `event_id should be that of the row, ${eventId}, but is ${event.event.event_id}`);
  return value;
}

const poison = (code: Failure['code'], message: string): Failure => new Failure('poison', code, message);
const shown = (text: string): string => JSON.stringify(text.slice(0, 80));
