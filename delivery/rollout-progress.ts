import { shareOf, type Rollout } from '../catalogue/rollout-rows.ts';
import type { StepProgress } from '../catalogue/rollout.ts';
import type { Transaction } from '../process/database.ts';
import { arrayOf } from '../process/sql-columns.ts';
import { isCode, type Code } from '../schemas/codes.ts';
import type { WorkspaceId } from '../schemas/ids.ts';
import { lastingRefusals } from './reject.ts';
import { defaultChannel } from './wanted-set.ts';

/** A workspace whose delivery of the new release ends in a refusal. */
export interface RefusedWorkspace {
  readonly workspaceId: WorkspaceId;
  readonly code: Code;
}

export interface RolloutProgress extends StepProgress {
  /** Some of the failed ones. */
  readonly refused: readonly RefusedWorkspace[];
}

/** What a release can be the cause of, and what does not pass by itself. */
const heldAgainst: readonly Code[] = [...lastingRefusals, 'CONFLICT', 'MISSING_ASSETS', 'VOLUME_FULL'];

/** How many refused workspaces are named. */
const refusedShown = 5;

/**
 * How far the deliveries of a rollout's current step have come, in one statement and so from one snapshot. Concerned are
 * the workspaces inside that follow the channel, boot or run, and take the new release: what waits for a boot of its own (paused,
 * hibernated) or is refused for another reason (not entitled, another runtime) says nothing of it. A workspace that
 * was refused with its previous release already is not held against the new one.
 */
export async function measureProgress(trx: Transaction, rollout: Rollout): Promise<RolloutProgress> {
  const release = JSON.stringify([{ itemId: rollout.itemId, version: rollout.to }]);
  const { rows: [row] } = await trx.raw<{ rows: (Omit<RolloutProgress, 'refused'> & { refused: { workspaceId: WorkspaceId; code: string }[] })[] }>(
    `with inside as materialized (
       select workspace_id, org_id from workspace_items where item_id = :item and via = 'named' and rollout_bucket(:seed::uuid, workspace_id) < :share
     ), following as (
       select i.workspace_id, d.attempt, d.parked_code, d.present @> :held or d.staged @> :held as holds, p.workspace_id is not null as pending,
         coalesce(d.parked_code = any(:codes::text[]), false) as refused
       from inside i join deliveries d using (workspace_id) join workspace_records r using (workspace_id) left join pending p using (workspace_id)
         left join entitlements e on e.org_id = i.org_id and e.item_id = :item
       where r.status in ('provisioning', 'online') and r.delivery_mode = 'volume'
         and coalesce(case when e.entitled then e.policy end, (select case when access <> 'sold' then :default end from items where item_id = :item)) = :channel
     ), judged as (
       select f.workspace_id, parked_code as code, pending, coalesce(holds, false) as holds,
         refused and exists (
           select from attempts a where a.workspace_id = f.workspace_id and a.attempt = f.attempt and a.plan->'wanted'->'items' @> :release)
         and not coalesce((
           select b.code = any(:codes::text[]) from attempts b
           where b.workspace_id = f.workspace_id and not b.plan->'wanted'->'items' @> :release order by b.attempt desc limit 1), false) as failed
       from following f
     )
     select (select floor(extract(epoch from clock_timestamp() - step_started_at) * 1000)::bigint from rollouts where id = :id) as "elapsedMs",
       exists (select from fanouts where item_id = :item and done_at is null) as "isWaking",
       count(*) filter (where failed)::integer as failed,
       count(*) filter (where holds and not failed)::integer as settled,
       count(*) filter (where pending and not holds and not failed)::integer as waiting,
       coalesce((select jsonb_agg(jsonb_build_object('workspaceId', workspace_id, 'code', code))
         from (select workspace_id, code from judged where failed order by workspace_id limit ${refusedShown}) shown), '[]') as refused
     from judged`,
    {
      id: rollout.id, item: rollout.itemId, seed: rollout.seed, share: shareOf(rollout), channel: rollout.channel, default: defaultChannel,
      release, held: `{"items":${release}}`, codes: arrayOf(heldAgainst),
    },
  );
  if (row === undefined) throw new Error('an aggregate returned no row');
  return { ...row, refused: row.refused.flatMap(({ workspaceId, code }) => (isCode(code) ? [{ workspaceId, code }] : [])) };
}
