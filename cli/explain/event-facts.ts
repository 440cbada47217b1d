import type { Transaction } from '../../process/database.ts';

/** What is on record of one event: where it stands, what it was decided to be, and what followed from it. */
export interface EventFacts {
  readonly eventId: string;
  /** The records and lines that it is the newest event of. */
  readonly currentOf: readonly string[];
  /** Decisions that name it as their cause, oldest first. */
  readonly decisions: readonly EventDecision[];
  /** Events of ours that it caused, or that it is. */
  readonly published: readonly PublishedEvent[];
}

export interface EventDecision {
  readonly at: Date;
  readonly subject: string;
  readonly action: string;
  readonly outcome: string;
  readonly code: string | null;
  readonly attempt: number | null;
}

export interface PublishedEvent {
  readonly at: Date;
  readonly type: string;
  readonly eventId: string;
  readonly key: string;
  readonly place: string | null;
}

/** How many of each are shown. */
const shownMax = 20;

/** Undefined: nothing here knows an event of this id. */
export async function loadEventFacts(trx: Transaction, eventId: string): Promise<EventFacts | undefined> {
  const ask = async <Row>(sql: string): Promise<Row[]> => (await trx.raw<{ rows: Row[] }>(sql, { eventId })).rows;
  const currentOf = await ask<{ name: string }>(`
    select 'workspace ' || workspace_id as name from workspace_records where event_id = :eventId
    union all select 'line ' || org_id || '/' || item_id || '/' || purchase_id from entitlement_lines where event_id = :eventId`);
  const decisions = await ask<EventDecision>(`
    select at, subject_kind || ' ' || subject_id as subject, action, outcome, code, attempt
    from audit where caused_by = :eventId order by id limit ${String(shownMax)}`);
  const published = await ask<PublishedEvent>(`
    select created_at as at, type, event_id as "eventId", key, topic || '/' || sent_partition || '/' || sent_offset as place
    from waybill_outbox where event_id = :eventId or body->>'caused_by' = :eventId::text order by id limit ${String(shownMax)}`);
  if (currentOf.length === 0 && decisions.length === 0 && published.length === 0) return undefined;
  return { eventId, currentOf: currentOf.map(({ name }) => name), decisions, published };
}

export function eventText({ eventId, currentOf, decisions, published }: EventFacts): string {
  return [
    `event ${eventId}`,
    ...(currentOf.length === 0 ? ['  no longer the newest of anything'] : currentOf.map((name) => `  newest event of ${name}`)),
    ...(decisions.length === 0 ? [] : ['decided because of it']),
    ...decisions.map(({ at, subject, action, outcome, code, attempt }) =>
      `  ${at.toISOString()}  ${action.padEnd(22)}  ${outcome}${code === null ? '' : ` ${code}`}  ${subject}${attempt === null ? '' : `  attempt ${String(attempt)}`}`),
    ...(published.length === 0 ? [] : ['published']),
    ...published.map(({ at, type, key, place, eventId: id }) => `  ${at.toISOString()}  ${type.padEnd(22)}  ${key}  ${place ?? 'not published yet'}${id === eventId ? '' : `  ${id}`}`),
  ].join('\n');
}
