import { createHash } from 'node:crypto';

/** An audit row as the chain sees it: every column as text, exact and the same for ever. */
export interface AuditRecord {
  readonly id: string;
  /** Microseconds since 1970. */
  readonly at: string;
  readonly subject_kind: string;
  readonly subject_id: string;
  readonly org_id: string | null;
  readonly action: string;
  readonly outcome: string;
  readonly code: string | null;
  /** jsonb as PostgreSQL writes it: keys sorted, one form for one value. */
  readonly detail: string;
  readonly caused_by: string | null;
  readonly attempt: string | null;
}

/** The columns of `audit a` that make an AuditRecord. */
export const recordColumns = `a.id::text, (extract(epoch from a.at) * 1000000)::bigint::text as at, a.subject_kind, a.subject_id, a.org_id::text,
  a.action, a.outcome, a.code, a.detail::text as detail, a.caused_by::text, a.attempt::text`;

/** The hash before the first link. */
export const genesis: Buffer = Buffer.alloc(32);

/** SHA-256 over the row: over the JSON array of its columns, in UTF-8. */
export function digestOf(row: AuditRecord): Buffer {
  return createHash('sha256').update(JSON.stringify([
    row.id, row.at, row.subject_kind, row.subject_id, row.org_id, row.action, row.outcome, row.code, row.detail, row.caused_by, row.attempt,
  ])).digest();
}

/** hash = SHA-256(hash before || digest): a link says everything that came before it. */
export const hashAfter = (before: Uint8Array, digest: Uint8Array): Buffer => createHash('sha256').update(before).update(digest).digest();
