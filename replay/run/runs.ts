import { randomUUID } from 'node:crypto';

import { appendAudit } from '../../process/audit.ts';
import { asDatabaseFailure, tx, type Database, type Transaction } from '../../process/database.ts';
import { Failure } from '../../process/failure.ts';
import { arrayOf, jsonLinesOf } from '../../process/sql-columns.ts';
import { planHash } from './plan-hash.ts';
import { defaultControls, type Controls } from './throttle.ts';

export type RunKind = 'replay' | 'rebuild' | 'backfill' | 'rollback' | 'import';
export type RunState = 'planned' | 'running' | 'paused' | 'aborted' | 'done' | 'failed';
export type ItemState = 'planned' | 'ok' | 'already' | 'skipped' | 'failed';

/** A run as it is stored. `plan` and `checkpoint` are in the words of its kind. */
export interface Run {
  readonly runId: string;
  readonly kind: RunKind;
  readonly state: RunState;
  readonly reason: string;
  readonly plan: unknown;
  readonly planHash: string;
  readonly controls: Controls;
  readonly fence: number;
  /** Null: nobody has it. */
  readonly holder: string | null;
  readonly total: number;
  readonly ok: number;
  readonly failed: number;
  readonly skipped: number;
  readonly checkpoint: unknown;
  readonly throttled: string | null;
  readonly stoppedBy: string | null;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly endedAt: Date | null;
}

/** One subject of a run. */
export interface RunItem {
  readonly line: number;
  readonly subject: string;
  readonly orgId: string | null;
  readonly state: ItemState;
  readonly code: string | null;
  readonly plan: unknown;
  readonly result: unknown;
}

const columns = `run_id as "runId", kind, state, reason, plan, plan_hash as "planHash", controls, fence,
  case when lease_until > clock_timestamp() then holder end as holder, total, ok, failed, skipped, checkpoint, throttled,
  stopped_by as "stoppedBy", created_at as "createdAt", started_at as "startedAt", ended_at as "endedAt"`;

/** Stores a plan, with the audit row of who wanted it and why; nothing else is written before `apply`. */
export async function insertPlan(
  database: Database, input: {
    readonly kind: RunKind; readonly reason: string; readonly plan: unknown; readonly total: number; readonly items?: readonly RunItem[];
    readonly controls?: Partial<Controls>;
  },
): Promise<Run> {
  const { kind, plan, total, items = [] } = input;
  const reason = requireReason(input.reason);
  const runId = randomUUID();
  const controls = { ...defaultControls, ...input.controls };
  await tx(database, async (trx) => {
    await trx.raw('insert into runs (run_id, kind, reason, plan, plan_hash, controls, total, skipped) values (?, ?, ?, ?, ?, ?, ?, ?)', [
      runId, kind, reason, JSON.stringify(plan), planHash(kind, plan, items.map(hashed)), JSON.stringify(controls), total,
      items.filter(({ state }) => state !== 'planned').length,
    ]);
    for (let from = 0; from < items.length; from += 1_000) await insertItems(trx, runId, items.slice(from, from + 1_000));
    await auditRun(trx, { runId, kind }, 'plan', reason, { total });
  });
  return await loadRun(database, runId);
}

/** What the hash of a plan covers of an item: not what came of it. */
const hashed = ({ line, subject, plan }: Pick<RunItem, 'line' | 'subject' | 'plan'>): unknown => [line, subject, plan];

async function insertItems(trx: Transaction, runId: string, items: readonly RunItem[]): Promise<void> {
  await trx.raw(
    `insert into run_items (run_id, line, subject, org_id, state, code, plan)
     select ?, line, subject, org_id, state, code, plan
     from unnest(?::integer[], ?::text[], ?::uuid[], ?::text[], ?::text[], string_to_array(?, E'\\n')::jsonb[])
       as item(line, subject, org_id, state, code, plan)`,
    [
      runId, arrayOf(items.map(({ line }) => line)), arrayOf(items.map(({ subject }) => subject)), arrayOf(items.map(({ orgId }) => orgId)),
      arrayOf(items.map(({ state }) => state)), arrayOf(items.map(({ code }) => code)), jsonLinesOf(items.map(({ plan }) => plan)),
    ],
  );
}

/** @throws Failure input NOT_FOUND; the id is full, never a prefix */
export async function loadRun(database: Database, runId: string, kinds?: readonly RunKind[]): Promise<Run> {
  const rows = await ask<Run>(database, `select ${columns} from runs where run_id::text = ?`, [runId]);
  const [run] = rows;
  if (run === undefined) throw new Failure('input', 'NOT_FOUND', `There is no run ${JSON.stringify(runId.slice(0, 80))}.`);
  if (kinds !== undefined && !kinds.includes(run.kind)) throw new Failure('input', 'NOT_FOUND', `Run ${runId} is a ${run.kind}, not a ${kinds.join(' or ')}.`);
  return run;
}

/** The newest first. */
export async function listRuns(database: Database, kinds: readonly RunKind[], limit: number): Promise<Run[]> {
  return await ask<Run>(database, `select ${columns} from runs where kind = any(?::text[]) order by created_at desc limit ?`, [[...kinds], limit]);
}

/** The items of a run in the order of its input, page after page. */
export async function loadItems(
  database: Database, runId: string, { after = 0, limit = 1_000, state }: { readonly after?: number; readonly limit?: number; readonly state?: ItemState } = {},
): Promise<RunItem[]> {
  return await ask<RunItem>(
    database,
    `select line, subject, org_id as "orgId", state, code, plan, result from run_items
     where run_id = ? and line > ? ${state === undefined ? '' : 'and state = ?'} order by line limit ?`,
    [runId, after, ...(state === undefined ? [] : [state]), limit],
  );
}

/** Every item of a run. */
export async function* allItems(database: Database, runId: string): AsyncGenerator<RunItem> {
  for (let after = 0; ;) {
    const page = await loadItems(database, runId, { after });
    yield* page;
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.line;
  }
}

/** Refuses a plan that is not the one that was printed, whoever altered it. @throws Failure input PLAN_CHANGED */
export async function requirePlanIntact(database: Database, run: Run): Promise<void> {
  const items: unknown[] = [];
  for await (const item of allItems(database, run.runId)) items.push(hashed(item));
  if (planHash(run.kind, run.plan, items) !== run.planHash) {
    throw new Failure('input', 'PLAN_CHANGED', `The stored plan of run ${run.runId} is not the one that was made: its hash differs from ${run.planHash}.`);
  }
}

/** What an operator did to a run, and why; in the transaction of what was done. */
export async function auditRun(
  trx: Transaction, { runId, kind }: Pick<Run, 'runId' | 'kind'>, action: string, reason: string, detail: Readonly<Record<string, unknown>> = {}, outcome = 'done',
): Promise<void> {
  await appendAudit(trx, [{ subjectKind: 'run', subjectId: runId, action: `${kind} ${action}`, outcome, detail: { reason, ...detail } }]);
}

/** @throws Failure input FIELD_INVALID */
export function requireReason(reason: string): string {
  const trimmed = reason.trim();
  if (trimmed === '') throw new Failure('input', 'FIELD_INVALID', 'reason should say why, but is blank');
  return trimmed;
}

async function ask<Row>(database: Database, sql: string, bindings: readonly (string | number | string[])[]): Promise<Row[]> {
  try {
    const { rows } = await database.raw<{ rows: Row[] }>(sql, [...bindings]);
    return rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
