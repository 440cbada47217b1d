import { asDatabaseFailure, type Database, type Transaction } from './database.ts';

/** One row of the audit as it is read. */
export interface AuditEntry {
  readonly id: number;
  readonly at: Date;
  readonly subjectKind: string;
  readonly subjectId: string;
  readonly orgId: string | null;
  readonly action: string;
  readonly outcome: string;
  readonly code: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
  readonly causedBy: string | null;
  readonly attempt: number | null;
}

export interface AuditFilter {
  readonly org?: string | undefined;
  readonly subjectKind?: string | undefined;
  readonly subjectId?: string | undefined;
  readonly action?: string | undefined;
  readonly outcome?: string | undefined;
  readonly code?: string | undefined;
  /** Only older ones than this id. */
  readonly before?: number | undefined;
  readonly limit: number;
}

/** The rows that match, newest first. */
export async function listAudit(database: Database | Transaction, filter: AuditFilter): Promise<AuditEntry[]> {
  const { org = null, subjectKind = null, subjectId = null, action = null, outcome = null, code = null, before = null, limit } = filter;
  try {
    const { rows } = await database.raw<{ rows: AuditEntry[] }>(
      `select id, at, subject_kind as "subjectKind", subject_id as "subjectId", org_id as "orgId", action, outcome, code, detail,
         caused_by as "causedBy", attempt
       from audit
       where (:org::uuid is null or org_id = :org::uuid) and (:subjectKind::text is null or subject_kind = :subjectKind)
         and (:subjectId::text is null or subject_id = :subjectId) and (:action::text is null or action = :action)
         and (:outcome::text is null or outcome = :outcome) and (:code::text is null or code = :code) and (:before::bigint is null or id < :before::bigint)
       order by id desc limit :limit`,
      { org, subjectKind, subjectId, action, outcome, code, before, limit },
    );
    return rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
