import type { Transaction } from '../process/database.ts';
import { Failure } from '../process/failure.ts';
import { arrayOf, jsonLinesOf } from '../process/sql-columns.ts';
import { keyOf, topicOf, type TopicName, type TypedEvent } from '../schemas/topics.ts';
import { parseEvent } from '../schemas/parse-event.ts';
import { checkInput } from './check-input.ts';
import { requireTransaction } from './json-row.ts';

/** A record that is published as it is: bytes that waybill does not encode, such as dead letters. */
export interface RawRecord {
  readonly topic: TopicName;
  /** Orders the record among those of the same key; NUL cannot be stored and becomes U+FFFD. */
  readonly key: string;
  readonly value: Buffer;
  readonly headers: Readonly<Record<string, string | Buffer>>;
  /** The same for the same cause, so that a repeat is seen as one (I5); see deriveEventId. */
  readonly eventId: string;
  /** What it is, for people who look at the outbox. */
  readonly type: string;
}

/** Largest row of an outbox: an event as JSON, and bytes. As in migrations/outbox/0005, which holds everybody to it. */
const bodyBytesMax = 1024 * 1024;
const valueBytesMax = 4 * 1024 * 1024;

/**
 * Appends events to the outbox of the transaction's database, in order; the relay publishes them once it commits (A4, I3).
 * One statement for any number. FIELD_INVALID, LONG_OVERFLOW or EVENT_TOO_LARGE (input) when an event breaks its contract:
 * nothing is written.
 */
export async function appendEvents(
  trx: Transaction, events: readonly TypedEvent[], { traceparent }: { traceparent?: string | undefined } = {},
): Promise<void> {
  if (events.length === 0) return;
  const typed = events.map(({ type, event }) => checkInput(() => parseEvent(type, event)));
  requireTransaction(trx);
  const bodies = jsonLinesOf(typed.map(({ event }) => event));
  // A character is at most three bytes: what is this short together needs no measuring.
  if (bodies.length > bodyBytesMax / 3) bodies.split('\n').forEach((body, n) => { requireBytes(typed[n]?.type ?? '', Buffer.byteLength(body), bodyBytesMax); });
  await trx.raw(
    `insert into waybill_outbox (event_id, topic, key, type, body, headers)
     select e, t, k, y, b, ?::jsonb
     from unnest(?::uuid[], ?::text[], ?::text[], ?::text[], string_to_array(?, E'\\n')::json[]) as r(e, t, k, y, b)`,
    [
      JSON.stringify(traceparent === undefined ? {} : { traceparent }), arrayOf(typed.map(({ event }) => event.event_id)),
      arrayOf(typed.map(({ type }) => topicOf(type))), arrayOf(typed.map(keyOf)), arrayOf(typed.map(({ type }) => type)),
      bodies,
    ],
  );
}

/** Appends records that are published as they are. One statement for any number. EVENT_TOO_LARGE (input) above 4 MiB. */
export async function appendBytes(trx: Transaction, records: readonly RawRecord[]): Promise<void> {
  if (records.length === 0) return;
  requireTransaction(trx);
  for (const { type, value } of records) requireBytes(type, value.length, valueBytesMax);
  const rows = records.map(({ topic, key, value, headers, eventId, type }) => ({
    e: eventId, t: topic, k: storable(key), y: type, v: value.toString('base64'), h: encodeHeaders(headers),
  }));
  await trx.raw(
    `insert into waybill_outbox (event_id, topic, key, type, value, headers)
     select r.e, r.t, r.k, r.y, decode(r.v, 'base64'), r.h
     from json_to_recordset(?::json) as r(e uuid, t text, k text, y text, v text, h jsonb)`,
    [JSON.stringify(rows)],
  );
}

function requireBytes(type: string, bytes: number, max: number): void {
  if (bytes > max) throw new Failure('input', 'EVENT_TOO_LARGE', `A ${type} of ${bytes} bytes is larger than the ${max} that an outbox takes. Send fewer plugins or shorter texts.`);
}

/** PostgreSQL stores no NUL and no half characters; a hostile record must not stop its own dead letter. */
const storable = (text: string): string => text.toWellFormed().replaceAll('\0', '�');

/** Header values as text where they are text, else as `{base64}`; decodeHeaders is the way back. */
function encodeHeaders(headers: RawRecord['headers']): Record<string, string | { base64: string }> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => {
    const bytes = Buffer.from(value);
    const text = bytes.toString('utf8');
    const whole = !text.includes('\0') && Buffer.from(text).equals(bytes);
    return [storable(name), whole ? text : { base64: bytes.toString('base64') }];
  }));
}

/** The headers of an outbox row as they go to Kafka. What is neither text nor `{base64}` is left out. */
export function decodeHeaders(stored: unknown): Record<string, string | Buffer> {
  const headers: Record<string, string | Buffer> = {};
  if (typeof stored !== 'object' || stored === null) return headers;
  for (const [name, value] of Object.entries(stored) as [string, unknown][]) {
    if (typeof value === 'string') headers[name] = value;
    else if (typeof value === 'object' && value !== null && 'base64' in value && typeof value.base64 === 'string') {
      headers[name] = Buffer.from(value.base64, 'base64');
    }
  }
  return headers;
}

