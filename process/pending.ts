import type { Database, Transaction } from './database.ts';
import { asDatabaseFailure } from './database.ts';

/**
 * The table of due workspaces (2-architecture, "Pending"). A wake says only "look again"; what is to be done is read when
 * a worker claims it. A duplicate or late wake is harmless; none is lost, because finish deletes the row only where `n`
 * is still what start read (C12).
 */
export const lanes = { urgent: 0, live: 1, backfill: 2, replay: 3 } as const;
export type Lane = keyof typeof lanes;
export const laneNames: readonly Lane[] = ['urgent', 'live', 'backfill', 'replay'];

/** A run of an operator that causes something: what it causes carries its id, and wakes in its lane (D1). */
export interface RunCause {
  readonly runId: string;
  readonly lane: Lane;
}

/** Who may take a due workspace: a worker, or the agent in the workspace itself. A wake writes it from the current record. */
export type Taker = 'worker' | 'box';

/** A claim: this worker may work on the workspace until the lease ends, under a number that no other attempt has. */
export interface Claim {
  readonly workspaceId: string;
  readonly orgId: string;
  readonly attempt: number;
  /** pending.n as claimed. */
  readonly n: number;
  readonly tries: number;
}

/**
 * Makes workspaces due; last in its transaction, sorted, so that wakes never deadlock. Only workspaces with a delivery
 * row are woken: the others never had anything to deliver (C6, I15). An urgent wake keeps its lane until it is done.
 */
export async function wake(trx: Transaction, workspaceIds: readonly string[], lane: Lane = 'live'): Promise<void> {
  await wakeInLanes(trx, new Map(workspaceIds.map((workspaceId) => [workspaceId, lane])));
}

/** As `wake`, each workspace in its own lane. One statement, for two would not be sorted between them. */
export async function wakeInLanes(trx: Transaction, laneByWorkspace: ReadonlyMap<string, Lane>): Promise<void> {
  if (laneByWorkspace.size === 0) return;
  await trx.raw(
    `insert into pending (workspace_id, org_id, lane, taker)
     select d.workspace_id, d.org_id, woken.lane, case r.delivery_mode when 'box' then 'box' else 'worker' end
     from deliveries d join unnest(?::uuid[], ?::smallint[]) as woken(workspace_id, lane) using (workspace_id)
       left join workspace_records r using (workspace_id)
     order by d.workspace_id
     on conflict (workspace_id) do update
       set n = nextval('pending_n'), at = least(pending.at, clock_timestamp()), lane = least(pending.lane, excluded.lane), taker = excluded.taker`,
    [[...laneByWorkspace.keys()], [...laneByWorkspace.values()].map((lane) => lanes[lane])],
  );
}

export interface ClaimOptions {
  readonly lanes?: readonly Lane[];
  readonly taker?: Taker;
  /** Only what has been due for this many milliseconds. */
  readonly dueForMs?: number;
}

/**
 * Claims up to `count` due workspaces of these lanes for `leaseMs`, the urgent lane first. Its own short transaction that
 * touches pending only. A row whose lease has run out is due again: its worker died or froze. Nothing is claimed on a server
 * that may have been set back and was not compared with the topics yet, nor before the consumers have read again what it forgot (I26).
 * Each lane is read along its index until enough are found (0.05 ms with 100,000 rows that wait, where one scan took 10);
 * materialized, because a subquery of the join may run more than once and claim more than `count` (measured).
 */
export async function claim(database: Database, count: number, leaseMs: number, options: ClaimOptions = {}): Promise<Claim[]> {
  const { lanes: of = laneNames, taker = 'worker', dueForMs = 0 } = options;
  try {
    const result = await database.raw<{ rows: Claim[] }>(
      `with due as materialized (
         select found.workspace_id
         from unnest(?::smallint[]) with ordinality as asked(lane, position), lateral (
           select workspace_id from pending q
           where (select claims_are_open()) and q.taker = ? and q.lane = asked.lane and q.at <= (select clock_timestamp() - ? * interval '1 millisecond')
             and q.lease_until <= clock_timestamp() and not q.paused
           order by q.at limit ? for update skip locked) found
         order by asked.position limit ?)
       update pending p set lease_until = clock_timestamp() + ? * interval '1 millisecond', attempt = nextval('attempt_numbers')
       from due where p.workspace_id = due.workspace_id
       returning p.workspace_id as "workspaceId", p.org_id as "orgId", p.attempt, p.n, p.tries`,
      [of.map((lane) => lanes[lane]), taker, dueForMs, count, count, leaseMs],
    );
    return result.rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

/**
 * Claims one workspace by its id, whoever holds it: the agent in it runs alone, and its next question ends what it was at.
 * Undefined: nothing is pending, or an operator has paused it.
 */
export async function claimOne(trx: Transaction, workspaceId: string, leaseMs: number): Promise<Claim | undefined> {
  const { rows: [claimed] } = await trx.raw<{ rows: Claim[] }>(
    `update pending set lease_until = clock_timestamp() + ? * interval '1 millisecond', attempt = nextval('attempt_numbers')
     where workspace_id = ? and not paused and (select claims_are_open())
     returning workspace_id as "workspaceId", org_id as "orgId", attempt, n, tries`, [leaseMs, workspaceId],
  );
  return claimed;
}

/** Later than anything that waits for its time. Not infinity, with which not every PostgreSQL reckons. */
const leftFor = `interval '100 years'`;

/** Nobody is to claim it before a wake comes, or its taker asks by id: only that one can do what is to be done. */
export async function leaveToTaker(trx: Transaction, { workspaceId, attempt, n }: Pick<Claim, 'workspaceId' | 'attempt' | 'n'>): Promise<void> {
  await trx.raw(
    `update pending set lease_until = '-infinity', at = clock_timestamp() + case when n = ? then ${leftFor} else interval '0' end
     where workspace_id = ? and attempt = ?`, [n, workspaceId, attempt],
  );
}

/** A pending row, as the agent in the workspace waits for it to change. */
export interface PendingSight {
  readonly workspaceId: string;
  readonly attempt: number | null;
  readonly n: number;
  /** Its time has come, or it was left to whom it is for. */
  readonly due: boolean;
  readonly leased: boolean;
}

/** Those of these workspaces that are pending and not paused, in one statement for all who wait. */
export async function lookAtPending(database: Database, workspaceIds: readonly string[]): Promise<PendingSight[]> {
  try {
    const { rows } = await database.raw<{ rows: PendingSight[] }>(
      `select workspace_id as "workspaceId", attempt, n, lease_until > clock_timestamp() as leased,
         at <= clock_timestamp() or at > clock_timestamp() + ${leftFor} / 2 as due
       from pending where workspace_id = any(?::uuid[]) and not paused`, [[...workspaceIds]],
    );
    return rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

/** Free for the right taker, at once: the claim was made by the other one, before a change of the record was folded. */
export async function handOver(trx: Transaction, { workspaceId, attempt }: Pick<Claim, 'workspaceId' | 'attempt'>, taker: Taker): Promise<void> {
  await trx.raw(
    `update pending set taker = ?, lease_until = '-infinity', at = clock_timestamp() where workspace_id = ? and attempt = ?`, [taker, workspaceId, attempt],
  );
}

/** The worker is still at it: the lease begins anew. A claim that a later one took over stays lost. */
export async function renewClaim(database: Database, { workspaceId, attempt }: Pick<Claim, 'workspaceId' | 'attempt'>, leaseMs: number): Promise<void> {
  try {
    await database.raw(
      `update pending set lease_until = clock_timestamp() + ? * interval '1 millisecond' where workspace_id = ? and attempt = ?`,
      [leaseMs, workspaceId, attempt],
    );
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}

/** Whether `attempt` still holds the claim, the n to finish against, and what came of it so far. Undefined: a later claim took over (I24). */
export async function readClaim(
  trx: Transaction, workspaceId: string, attempt: number,
): Promise<{ readonly n: number; readonly tries: number; readonly outcome: string | null } | undefined> {
  const result = await trx.raw<{ rows: { n: number; tries: number; outcome: string | null }[] }>(
    `select n, tries, (select outcome from attempts a where a.attempt = p.attempt) as outcome
     from pending p where workspace_id = ? and attempt = ?`, [workspaceId, attempt],
  );
  return result.rows[0];
}

/** Done: the row goes, unless a wake came since start; then it is due now. */
export async function settleClaim(trx: Transaction, workspaceId: string, attempt: number, n: number): Promise<void> {
  await trx.raw(
    `with gone as (delete from pending where workspace_id = :workspaceId and n = :n and attempt = :attempt returning 1)
     update pending set lease_until = '-infinity', at = clock_timestamp(), tries = 0
     where workspace_id = :workspaceId and attempt = :attempt and not exists (select from gone)`,
    { workspaceId, n, attempt },
  );
}

/**
 * Not done: due again after `delayMs` (0: now), and counted as a try when `failed`. A wake that came since `n` was read
 * is not made to wait: something changed, so the next try may fare better.
 */
export async function deferClaim(
  trx: Transaction, { workspaceId, attempt, n }: Pick<Claim, 'workspaceId' | 'attempt' | 'n'>, delayMs: number, failed: boolean,
): Promise<void> {
  await trx.raw(
    `update pending set lease_until = '-infinity', tries = tries + ?,
       at = clock_timestamp() + case when n = ? then ? else 0 end * interval '1 millisecond'
     where workspace_id = ? and attempt = ?`,
    [failed ? 1 : 0, n, delayMs, workspaceId, attempt],
  );
}
