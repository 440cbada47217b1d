import type { Transaction } from '../process/database.ts';
import type { ItemId, OrgId } from '../schemas/ids.ts';
import { wordsOf, type DecisionWords } from './decision-words.ts';

/** One decision that is on record (E2), in words, with the rules it follows and what it came from. */
export interface DecisionFacts extends DecisionWords {
  readonly at: Date;
  /** `workspace <id>`, `line <org>/<item>/<purchase>`, `release <item>@<version>`, … */
  readonly subject: string;
  readonly action: string;
  readonly outcome: string;
  readonly code: string | null;
  readonly causedBy: string | null;
  readonly attempt: number | null;
  /** Why a person decided so. */
  readonly reason: string | null;
}

/** An audit row as it is stored. */
export interface AuditedRow {
  readonly at: Date;
  readonly kind: string;
  readonly id: string;
  readonly action: string;
  readonly outcome: string;
  readonly code: string | null;
  readonly causedBy: string | null;
  readonly attempt: number | null;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** Whose decisions are asked for. */
export interface Subjects {
  readonly workspaceId?: string;
  /** With `itemIds`: the lines of the org for these items, and when time changed them. */
  readonly orgId?: OrgId;
  readonly itemIds: readonly ItemId[];
}

/** The newest decisions about these subjects that had been taken at a moment (null: now), oldest first. */
export async function loadDecisions(trx: Transaction, { workspaceId, orgId, itemIds }: Subjects, at: Date | null, limit: number): Promise<DecisionFacts[]> {
  // Each subject along the index on (kind, id); then the newest of them all.
  const { rows } = await trx.raw<{ rows: AuditedRow[] }>(`
    with subjects as (
      select 'workspace' as kind, :workspaceId::text as id where :workspaceId::text is not null
      union all select 'line', l.org_id || '/' || l.item_id || '/' || l.purchase_id from entitlement_lines l where l.org_id = :orgId::uuid and l.item_id = any(:itemIds::text[])
      union all select 'expiry', :orgId || '/' || item_id from unnest(:itemIds::text[]) item_id where :orgId::uuid is not null
      union all select 'item', item_id from unnest(:itemIds::text[]) item_id
      union all select 'release', r.item_id || '@' || r.version from releases r where r.item_id = any(:itemIds::text[]))
    select a.at, a.subject_kind as kind, a.subject_id as id, a.action, a.outcome, a.code, a.caused_by as "causedBy", a.attempt, a.detail
    from subjects s cross join lateral (
      select * from audit a where a.subject_kind = s.kind and a.subject_id = s.id and a.at <= coalesce(:at::timestamptz, a.at) order by a.id desc limit :limit) a
    order by a.id desc limit :limit`, { workspaceId: workspaceId ?? null, orgId: orgId ?? null, itemIds: [...itemIds], at, limit });
  return rows.toReversed().map(decisionOf);
}

/** The decisions that name an event as their cause, oldest first. */
export async function loadDecisionsOf(trx: Transaction, eventId: string, limit: number): Promise<DecisionFacts[]> {
  const { rows } = await trx.raw<{ rows: AuditedRow[] }>(`
    select at, subject_kind as kind, subject_id as id, action, outcome, code, caused_by as "causedBy", attempt, detail
    from audit where caused_by = ? order by id limit ?`, [eventId, limit]);
  return rows.map(decisionOf);
}

export function decisionOf(row: AuditedRow): DecisionFacts {
  const { at, kind, id, action, outcome, code, causedBy, attempt, detail } = row;
  return { at, subject: `${kind} ${id}`, action, outcome, code, causedBy, attempt, reason: typeof detail['reason'] === 'string' && kind !== 'line' ? detail['reason'] : null, ...wordsOf(row) };
}
