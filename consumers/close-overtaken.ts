import { appendAudit } from '../process/audit.ts';
import type { Transaction } from '../process/database.ts';
import type { Failure } from '../process/failure.ts';
import { arrayOf } from '../process/sql-columns.ts';
import { RefusedContent } from '../schemas/codec.ts';
import { keyOf, versionOf, type TypedEvent } from '../schemas/topics.ts';
import type { Place } from './positions.ts';

/** Which line of its key, and which version of it, an event is: `line` is '' where the key has one record. */
export interface Subject {
  readonly line: string;
  readonly version: number;
}

/** An event of a batch where it stood. `isApplied`: it changed the state. */
export interface FoldedRecord {
  readonly offset: number;
  readonly event: TypedEvent;
  readonly isApplied: boolean;
}

export const subjectOf = (event: TypedEvent): Subject => ({ line: 'purchase_id' in event.event ? event.event.purchase_id : '', version: versionOf(event) });

/** What could be read of a record that was refused. Null: its bytes or its version could not be read, or it is under another's key. */
export function readSubject(refusal: Failure): Subject | null {
  if (!(refusal instanceof RefusedContent) || typeof refusal.content !== 'object' || refusal.content === null) return null;
  const { purchase_id: purchase, entitlement_version: ofLine, record_version: ofRecord } = refusal.content as Readonly<Record<string, unknown>>; // what Avro read
  if (typeof purchase === 'string' && isVersion(ofLine)) return { line: purchase, version: ofLine };
  return isVersion(ofRecord) ? { line: '', version: ofRecord } : null;
}

const isVersion = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value > 0;

/**
 * Closes the open dead letters that the events of a batch have overtaken, in the transaction that folded them (E4):
 * - of which the version could be read: when a later version of the same line or record is there;
 * - of which nothing could be read, under the key of a workspace: when a record was applied that stands behind it. Producers
 *   publish a key in the order of its versions, so that one is later. A key of entitlements has many lines, and nobody can
 *   say which one unreadable bytes meant: they stay open for redrive or discard.
 * A letter that somebody redrives at this moment is left to them.
 */
export async function closeOvertaken(trx: Transaction, { consumer, topic, partition, clusterId }: Place, records: readonly FoldedRecord[]): Promise<void> {
  const { rows: [any] } = await trx.raw<{ rows: { open: boolean }[] }>(`select exists (select from dead_letters where consumer = ? and status = 'open') as open`, [consumer]);
  if (any?.open !== true) return;
  const events = records.map((record) => ({ ...record, ...subjectOf(record.event) }));
  const { rows: closed } = await trx.raw<{ rows: { id: number; code: string; source: string }[] }>(
    `with e as materialized (
       select convert_to(key, 'UTF8') as key, line, version, "offset", applied
       from unnest(?::text[], ?::text[], ?::bigint[], ?::bigint[], ?::boolean[]) as e(key, line, version, "offset", applied)
     )
     update dead_letters set status = 'closed' where id in (
       select d.id from dead_letters d
       where d.consumer = ? and d.status = 'open' and md5(d.key) in (select md5(key) from e) and exists (
         select from e where e.key = d.key and case when d.version is not null then e.line = d.line and e.version > d.version
           else e.applied and e.line = '' and d.topic = ? and d.partition = ? and d.cluster_id = ? and d."offset" < e."offset" end)
       order by d.id for update skip locked)
     returning id, code, topic || '/' || partition || '/' || "offset" as source`,
    [
      arrayOf(events.map(({ event }) => keyOf(event))), arrayOf(events.map(({ line }) => line)), arrayOf(events.map(({ version }) => version)),
      arrayOf(events.map(({ offset }) => offset)), arrayOf(events.map(({ isApplied }) => isApplied)), consumer, topic, partition, clusterId,
    ],
  );
  await appendAudit(trx, closed.map(({ id, code, source }) => ({
    subjectKind: 'dead-letter', subjectId: String(id), action: 'close', outcome: 'closed', code, detail: { reason: 'a later version came', source },
  })));
}
