import { asDatabaseFailure, type Database, type Transaction } from '../process/database.ts';
import type { Failure } from '../process/failure.ts';
import { summaryColumns, type DeadLetterSummary } from '../process/list-dead-letters.ts';
import { appendBytes } from '../producers/outbox.ts';
import { deriveEventId } from '../schemas/ids.ts';
import { readSubject, type Subject } from './close-overtaken.ts';
import type { Place } from './positions.ts';

/** A record as Kafka gave it. */
export interface SourceRecord {
  readonly offset: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** In their order; a name may come more than once. */
  readonly headers: readonly (readonly [name: string, value: Buffer])[];
}

/** A record that can never work, and why. */
export interface RefusedRecord {
  readonly record: SourceRecord;
  readonly refusal: Failure;
  /** Which line and version it is, where applying refused it; otherwise what the refusal could read is taken. */
  readonly subject?: Subject;
}

/** Characters of a reason that are kept; a message quotes at most a few values. */
const reasonMax = 2000;

/**
 * Puts records away with their bytes, headers, code and reason, and their bytes into the outbox for waybill.dead-letters,
 * in the transaction that moves the position past them (I17). A record that was put away before, by a run that was set
 * back, is neither stored nor published again.
 */
export async function appendDeadLetters(trx: Transaction, place: Place, refused: readonly RefusedRecord[]): Promise<void> {
  if (refused.length === 0) return;
  const rows = refused.map(({ record, refusal, subject = readSubject(refusal) }) => ({
    offset: record.offset,
    line: subject?.line ?? null,
    version: subject?.version ?? null,
    key: record.key?.toString('base64') ?? null,
    value: record.value?.toString('base64') ?? null,
    headers: record.headers.map(([name, value]) => [Buffer.from(name).toString('base64'), value.toString('base64')]),
    code: refusal.code,
    reason: storable(refusal.message),
  }));
  const { rows: inserted } = await trx.raw<{ rows: { offset: number }[] }>(
    `insert into dead_letters (consumer, topic, partition, cluster_id, "offset", key, value, headers, code, reason, line, version)
     select ?, ?, ?, ?, r."offset", decode(r.key, 'base64'), decode(r.value, 'base64'), r.headers, r.code, r.reason, r.line, r.version
     from json_to_recordset(?::json) as r("offset" bigint, key text, value text, headers jsonb, code text, reason text, line text, version bigint)
     order by r."offset" on conflict do nothing returning "offset"`,
    [place.consumer, place.topic, place.partition, place.clusterId, JSON.stringify(rows)],
  );
  const fresh = new Set(inserted.map(({ offset }) => offset));
  await appendBytes(trx, refused.filter(({ record }) => fresh.has(record.offset)).map(({ record, refusal }) => ({
    topic: 'waybill.dead-letters',
    key: record.key?.toString('utf8') ?? '',
    value: record.value ?? Buffer.alloc(0),
    headers: {
      ...Object.fromEntries(record.headers.map(([name, value]) => [name, Buffer.from(value)])),
      'waybill-consumer': place.consumer,
      'waybill-source': `${place.topic}/${place.partition}/${record.offset}`,
      'waybill-code': refusal.code,
      'waybill-reason': storable(refusal.message),
    },
    eventId: deriveEventId('DeadLetter', `${place.clusterId}/${place.consumer}/${place.topic}/${place.partition}`, record.offset),
    type: 'DeadLetter',
  })));
}

/** PostgreSQL stores no NUL and no half characters; a hostile record must not stop its own dead letter. */
const storable = (text: string): string => text.slice(0, reasonMax).toWellFormed().replaceAll('\0', '�');

/** A dead letter as it came. */
export interface DeadLetter extends DeadLetterSummary {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [name: string, value: Buffer])[];
}

/** One dead letter with its bytes; undefined when there is none of that id. */
export async function showDeadLetter(database: Database, id: number): Promise<DeadLetter | undefined> {
  try {
    const { rows: [row] } = await database.raw<{ rows: DeadLetterRow[] }>(`select ${summaryColumns}, key, value, headers from dead_letters where id = ?`, [id]);
    return row && { ...row, headers: row.headers.map(([name, value]) => [fromBase64(name).toString(), fromBase64(value)] as const) };
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

interface DeadLetterRow extends Omit<DeadLetter, 'headers'> {
  readonly headers: readonly (readonly [name: string, value: string])[];
}

const fromBase64 = (text: string): Buffer => Buffer.from(text, 'base64');
