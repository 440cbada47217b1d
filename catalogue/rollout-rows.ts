import type { Transaction } from '../process/database.ts';
import { arrayOf } from '../process/sql-columns.ts';
import type { Channel, ItemId, Version } from '../schemas/ids.ts';
import type { RolloutTerms } from './rollout.ts';

/** A staged move of a channel as it is kept. */
export interface Rollout extends RolloutTerms {
  readonly id: number;
  readonly itemId: ItemId;
  readonly channel: Channel;
  readonly from: Version;
  readonly to: Version;
  readonly seed: string;
  /** The current step, from 1. */
  readonly step: number;
  readonly state: 'running' | 'halted' | 'done' | 'aborted';
  readonly failuresKnown: number;
  /** Why it was started, and why it is in its state. */
  readonly reason: string;
  readonly stateReason: string;
  readonly startedAt: Date;
  readonly stepStartedAt: Date;
  readonly endedAt: Date | null;
}

/** The share of workspaces that the rollout has come to, in ten-thousandths. */
export const shareOf = ({ steps, step }: Pick<Rollout, 'steps' | 'step'>): number => steps[step - 1] ?? 0;

const columns = `id, item_id as "itemId", channel, from_version as "from", to_version as "to", seed, steps, step, state, watch_ms as "watchMs",
  failures_max as "failuresMax", failed_share_max as "failedShareMax", failures_known as "failuresKnown", reason, state_reason as "stateReason",
  started_at as "startedAt", step_started_at as "stepStartedAt", ended_at as "endedAt"`;

/** The rollouts that are under way, those of one item or all, oldest first. */
export async function loadOpenRollouts(trx: Transaction, itemId: ItemId | null = null): Promise<Rollout[]> {
  const { rows } = await trx.raw<{ rows: Rollout[] }>(
    `select ${columns} from rollouts where state in ('running', 'halted') and item_id = coalesce(?, item_id) order by id`, [itemId],
  );
  return rows;
}

/** The newest rollouts of an item, ended ones among them. */
export async function loadNewestRollouts(trx: Transaction, itemId: ItemId, count: number): Promise<Rollout[]> {
  const { rows } = await trx.raw<{ rows: Rollout[] }>(`select ${columns} from rollouts where item_id = ? order by id desc limit ?`, [itemId, count]);
  return rows;
}

export interface NewRollout extends Pick<Rollout, 'itemId' | 'channel' | 'from' | 'to' | 'seed' | 'reason'>, RolloutTerms {}

/** The caller holds the item's lock and has found no other rollout of the channel. */
export async function insertRollout(trx: Transaction, { itemId, channel, from, to, seed, steps, watchMs, failuresMax, failedShareMax, reason }: NewRollout): Promise<Rollout> {
  const { rows: [row] } = await trx.raw<{ rows: Rollout[] }>(
    `insert into rollouts (item_id, channel, from_version, to_version, seed, steps, watch_ms, failures_max, failed_share_max, reason, state_reason)
     values (?, ?, ?, ?, ?::uuid, ?::integer[], ?, ?, ?, ?, ?) returning ${columns}`,
    [itemId, channel, from, to, seed, arrayOf(steps), watchMs, failuresMax, failedShareMax, reason, reason],
  );
  if (row === undefined) throw new Error('an insert returned no row');
  return row;
}

/** What becomes of a rollout. `restarts` the watch time, by the database's clock. */
export interface RolloutChange {
  readonly state: Rollout['state'];
  readonly stateReason: string;
  readonly step?: number;
  readonly failuresKnown?: number;
  readonly restarts?: boolean;
}

export async function updateRollout(trx: Transaction, id: number, { state, stateReason, step, failuresKnown, restarts = false }: RolloutChange): Promise<void> {
  await trx.raw(
    `update rollouts set state = :state, state_reason = :stateReason, step = coalesce(:step, step), failures_known = coalesce(:failuresKnown, failures_known),
       step_started_at = case when :restarts then clock_timestamp() else step_started_at end,
       ended_at = case when :state in ('done', 'aborted') then clock_timestamp() end
     where id = :id`,
    { id, state, stateReason, step: step ?? null, failuresKnown: failuresKnown ?? null, restarts },
  );
}

export interface StoppedRollout {
  readonly channel: Channel;
  readonly state: 'halted' | 'aborted';
}

/**
 * Stops the rollouts of a release that is being taken back, in that transaction: a yanked release stays where it is and
 * goes nowhere else, so the rollout halts; a quarantined one is being removed, so everybody gets the previous one again.
 * The caller wakes every workspace of the item.
 */
export async function stopRolloutsOf(
  trx: Transaction, { itemId, version, status, reason }: { itemId: ItemId; version: Version; status: 'yanked' | 'quarantined'; reason: string },
): Promise<StoppedRollout[]> {
  const state = status === 'yanked' ? 'halted' : 'aborted';
  const stopped = (await loadOpenRollouts(trx, itemId)).filter((rollout) => rollout.to === version && rollout.state !== state);
  for (const { id } of stopped) await updateRollout(trx, id, { state, stateReason: `release ${version} was ${status}: ${reason}` });
  return stopped.map(({ channel }) => ({ channel, state }));
}
