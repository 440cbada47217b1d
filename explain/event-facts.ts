import type { Transaction } from '../process/database.ts';
import { loadDecisionsOf, type DecisionFacts } from './decisions.ts';
import { loadEventFate, type EventFate } from './event-fate.ts';
import { findInOutboxes, type OutboxRow, type ProducerOutbox } from './find-event.ts';

/** What is on record of one event: where it stands, what it was decided to be, and what followed from it. */
export interface EventFacts {
  readonly eventId: string;
  /** Its row in an outbox; null: in none that could be looked at. */
  readonly row: OutboxRow | null;
  /** Our consumers of its topic, and where each stands in its partition. */
  readonly positions: readonly PositionFacts[];
  /** The records and lines that it is the newest event of. */
  readonly currentOf: readonly string[];
  /** Decisions that name it as their cause, oldest first. */
  readonly decisions: readonly DecisionFacts[];
  /** Events of ours that it caused, oldest first. */
  readonly caused: readonly PublishedEvent[];
  readonly deadLetters: readonly DeadLetterFacts[];
  /** What it would do now, by the fold's own rule; null: it is no event that we fold, or its content is not at hand. */
  readonly fate: EventFate | null;
  /** The outboxes that were looked at. */
  readonly looked: readonly string[];
}

export interface PositionFacts {
  readonly consumer: string;
  /** The offset that it reads next. */
  readonly position: number;
}

export interface PublishedEvent {
  readonly at: Date;
  readonly type: string;
  readonly eventId: string;
  readonly key: string;
  /** topic/partition/offset; null: not published yet. */
  readonly place: string | null;
}

export interface DeadLetterFacts {
  readonly id: number;
  readonly consumer: string;
  readonly code: string;
  readonly reason: string;
  readonly status: string;
  readonly place: string;
}

/** How many of each are shown. */
const shownMax = 20;

/**
 * Looks for an event wherever it may stand: our own outbox and those of the producers, the audit, the projection, the dead
 * letters. Undefined: nothing here knows an event of this id.
 */
export async function loadEventFacts(trx: Transaction, eventId: string, producers: readonly ProducerOutbox[]): Promise<EventFacts | undefined> {
  const ask = async <Row>(sql: string, bindings: Record<string, string | null>): Promise<Row[]> => (await trx.raw<{ rows: Row[] }>(sql, bindings)).rows;
  const row = await findInOutboxes(trx, eventId, producers);
  const currentOf = await ask<{ name: string }>(`
    select 'workspace ' || workspace_id as name from workspace_records where event_id = :eventId
    union all select 'line ' || org_id || '/' || item_id || '/' || purchase_id from entitlement_lines where event_id = :eventId`, { eventId });
  const decisions = await loadDecisionsOf(trx, eventId, shownMax);
  const deadLetters = await ask<DeadLetterFacts>(`
    select id, consumer, code, reason, status, topic || '/' || partition || '/' || "offset" as place from dead_letters
    where headers @> jsonb_build_array(jsonb_build_array(:name::text, :value::text)) order by id limit ${String(shownMax)}`,
  { name: Buffer.from('event-id').toString('base64'), value: Buffer.from(eventId).toString('base64') });
  if (row === undefined && currentOf.length === 0 && decisions.length === 0 && deadLetters.length === 0) return undefined;
  const positions = row?.partition === undefined || row.partition === null ? [] : await ask<PositionFacts>(`
    select consumer, position from consumer_offsets where right(topic, length(:topic)) = :topic and partition = :partition order by consumer`,
  { topic: row.topic, partition: String(row.partition) });
  return {
    eventId, row: row ?? null, positions, currentOf: currentOf.map(({ name }) => name), decisions, caused: await loadCaused(trx, eventId, keysOf(row, decisions)), deadLetters,
    fate: row === undefined ? null : await loadEventFate(trx, row), looked: ['waybill', ...producers.map(({ owner }) => owner)],
  };
}

/** The keys under which events stand that it may have caused: a workspace, or org/item. */
function keysOf(row: OutboxRow | undefined, decisions: readonly DecisionFacts[]): string[] {
  const subjects = decisions.map(({ subject }) => subject.replace(/^\S+ /u, '').replace(/^(?<pair>[^/]+\/[^/]+)\/.*$/u, '$<pair>'));
  return [...new Set([...(row === undefined ? [] : [row.key]), ...subjects])];
}

async function loadCaused(trx: Transaction, eventId: string, keys: readonly string[]): Promise<PublishedEvent[]> {
  // By key first: the content of few rows is looked into.
  const { rows } = await trx.raw<{ rows: PublishedEvent[] }>(`
    with of_keys as materialized (select * from waybill_outbox where key = any(:keys::text[]) and topic in ('waybill.assets', 'waybill.entitlements'))
    select created_at as at, type, event_id as "eventId", key, topic || '/' || sent_partition || '/' || sent_offset as place
    from of_keys where body->>'caused_by' = :eventId order by id limit ${String(shownMax)}`, { eventId, keys: [...keys] });
  return rows;
}
