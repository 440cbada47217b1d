import { asDatabaseFailure, type Database, type Transaction } from '../process/database.ts';

/** An event as it stands in an outbox. */
export interface OutboxRow {
  /** Whose database: waybill, control-plane, billing. */
  readonly owner: string;
  readonly at: Date;
  readonly type: string;
  readonly key: string;
  readonly topic: string;
  readonly sentAt: Date | null;
  readonly partition: number | null;
  readonly offset: number | null;
  /** Why the relay will never publish it. */
  readonly refused: string | null;
  readonly body: Readonly<Record<string, unknown>> | null;
}

/** The database of a team that publishes to us, where its outbox can be looked at. */
export interface ProducerOutbox {
  readonly owner: 'control-plane' | 'billing';
  readonly database: Database;
}

/** Dead letters stand in the outbox too, under ids of their own. */
const inOutbox = `select created_at as at, type, key, topic, sent_at as "sentAt", sent_partition as partition, sent_offset as "offset",
  refused_code || ': ' || refused_reason as refused, body from waybill_outbox where event_id = ? and type <> 'DeadLetter' order by id limit 1`;

/** The row of an event: in our own outbox, else in that of a producer. */
export async function findInOutboxes(trx: Transaction, eventId: string, producers: readonly ProducerOutbox[]): Promise<OutboxRow | undefined> {
  const { rows: [own] } = await trx.raw<{ rows: Omit<OutboxRow, 'owner'>[] }>(inOutbox, [eventId]);
  if (own !== undefined) return { owner: 'waybill', ...own };
  for (const { owner, database } of producers) {
    const row = await askProducer(database, eventId);
    if (row !== undefined) return { owner, ...row };
  }
  return undefined;
}

async function askProducer(database: Database, eventId: string): Promise<Omit<OutboxRow, 'owner'> | undefined> {
  try {
    const { rows: [row] } = await database.raw<{ rows: Omit<OutboxRow, 'owner'>[] }>(inOutbox, [eventId]);
    return row;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
