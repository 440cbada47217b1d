import { asDatabaseFailure, type Database } from './database.ts';

export type DeadLetterStatus = 'open' | 'closed' | 'redriven' | 'discarded';

/** A dead letter without its bytes. */
export interface DeadLetterSummary {
  readonly id: number;
  readonly consumer: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly code: string;
  readonly reason: string;
  readonly status: DeadLetterStatus;
  readonly createdAt: Date;
}

export interface DeadLetterFilter {
  readonly status?: DeadLetterStatus | undefined;
  readonly code?: string | undefined;
  readonly consumer?: string | undefined;
  /** Only older ones than this id. */
  readonly before?: number | undefined;
  /** Default 100. */
  readonly limit?: number;
}

/** The columns of a summary, as they are read. */
export const summaryColumns = 'id, consumer, topic, partition, "offset", code, reason, status, created_at as "createdAt"';

/** The newest dead letters that match, newest first. */
export async function listDeadLetters(database: Database, { status, code, consumer, before, limit = 100 }: DeadLetterFilter = {}): Promise<DeadLetterSummary[]> {
  try {
    const { rows } = await database.raw<{ rows: DeadLetterSummary[] }>(
      `select ${summaryColumns} from dead_letters
       where status = coalesce(?, status) and code = coalesce(?, code) and consumer = coalesce(?, consumer)
         and id < coalesce(?, id + 1) order by id desc limit ?`,
      [status ?? null, code ?? null, consumer ?? null, before ?? null, limit],
    );
    return rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
