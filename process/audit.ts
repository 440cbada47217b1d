import type { Transaction } from './database.ts';
import { arrayOf, jsonLinesOf } from './sql-columns.ts';

/** One decision for the record (E2): what was decided about what, why, and what caused it. Holds no secret, ever. */
export interface AuditRow {
  readonly subjectKind: 'line' | 'workspace' | 'item' | 'release' | 'seller' | 'dead-letter' | 'expiry' | 'caller' | 'run';
  /** The full id: `org/item/purchase`, a workspace id, `item@version`, `operator/subject`, … */
  readonly subjectId: string;
  readonly orgId?: string | undefined;
  readonly action: string;
  readonly outcome: string;
  readonly code?: string | undefined;
  readonly detail?: Readonly<Record<string, unknown>> | undefined;
  readonly causedBy?: string | undefined;
  readonly attempt?: number | undefined;
}

/** Inserts the rows in one statement, in the transaction of what they tell about. */
export async function appendAudit(trx: Transaction, rows: readonly AuditRow[]): Promise<void> {
  if (rows.length === 0) return;
  await trx.raw(
    `insert into audit (subject_kind, subject_id, org_id, action, outcome, code, detail, caused_by, attempt)
     select * from unnest(?::text[], ?::text[], ?::uuid[], ?::text[], ?::text[], ?::text[],
       string_to_array(?, E'\\n')::jsonb[], ?::uuid[], ?::bigint[])`,
    [
      arrayOf(rows.map((row) => row.subjectKind)), arrayOf(rows.map((row) => row.subjectId)), arrayOf(rows.map((row) => row.orgId ?? null)),
      arrayOf(rows.map((row) => row.action)), arrayOf(rows.map((row) => row.outcome)), arrayOf(rows.map((row) => row.code ?? null)),
      jsonLinesOf(rows.map((row) => row.detail ?? {})), arrayOf(rows.map((row) => row.causedBy ?? null)), arrayOf(rows.map((row) => row.attempt ?? null)),
    ],
  );
}
