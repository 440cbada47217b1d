import type { Transaction } from '../process/database.ts';
import type { StateSample, StateSource } from '../process/metrics.ts';
import { laneNames } from '../process/pending.ts';

/** Deliveries as an operator watches them: what waits, how long, and for what. Ages by the database's clock, in seconds. */
export const deliveryGauges: StateSource = async (trx) => [...await readLanes(trx), ...await readNotReady(trx), ...await readRows(trx)];

async function readLanes(trx: Transaction): Promise<StateSample[]> {
  const { rows } = await trx.raw<{ rows: { lane: number; workspaces: number; oldest: number }[] }>(
    `select lane, count(*) as workspaces,
       coalesce(max(extract(epoch from clock_timestamp() - greatest(at, lease_until)))
         filter (where at <= clock_timestamp() and lease_until <= clock_timestamp() and not paused), 0)::float8 as oldest
     from pending group by lane`,
  );
  return laneNames.flatMap((lane, number): StateSample[] => {
    const row = rows.find((found) => found.lane === number);
    return [
      { name: 'waybill_pending_workspaces', labels: { lane }, value: row?.workspaces ?? 0 },
      { name: 'waybill_pending_oldest_seconds', labels: { lane }, value: row?.oldest ?? 0 },
    ];
  });
}

/** Boots that wait, as `explain` would say it of each. A workspace that was never attempted waits since now. */
async function readNotReady(trx: Transaction): Promise<StateSample[]> {
  const { rows } = await trx.raw<{ rows: { code: string; workspaces: number; oldest: number }[] }>(
    `select coalesce(d.parked_code, 'none') as code, count(*) as workspaces,
       coalesce(max(extract(epoch from clock_timestamp() - begun.at)), 0)::float8 as oldest
     from workspace_records r join deliveries d using (workspace_id) left join lateral (
       select min(a.started_at) as at from attempts a
       where a.workspace_id = r.workspace_id and (a.plan->'workspace'->>'epoch')::bigint = r.epoch) begun on true
     where r.status = 'provisioning'
       and (d.announced->>'kind', d.announced->>'epoch', d.announced->>'generation') is distinct from ('ready', r.epoch::text, r.generation::text)
     group by 1`,
  );
  return rows.flatMap(({ code, workspaces, oldest }): StateSample[] => [
    { name: 'waybill_not_ready_workspaces', labels: { code }, value: workspaces },
    { name: 'waybill_not_ready_oldest_seconds', labels: { code }, value: oldest },
  ]);
}

async function readRows(trx: Transaction): Promise<StateSample[]> {
  const { rows: parked } = await trx.raw<{ rows: { code: string; workspaces: number }[] }>(
    'select parked_code as code, count(*) as workspaces from deliveries where parked_code is not null group by 1',
  );
  const { rows: [row] } = await trx.raw<{ rows: { capped: number; fanouts: number }[] }>(
    `select (select count(*) from deliveries d where d.restart_due_at > clock_timestamp()
         and (select count(*) from unnest(d.restarts_asked) asked where asked > clock_timestamp() - interval '1 hour') >= 3) as capped,
       (select count(*) from fanouts where done_at is null) as fanouts`,
  );
  return [
    ...parked.map(({ code, workspaces }): StateSample => ({ name: 'waybill_parked_workspaces', labels: { code }, value: workspaces })),
    { name: 'waybill_restarts_capped_workspaces', value: row?.capped ?? 0 },
    { name: 'waybill_fanouts_open', value: row?.fanouts ?? 0 },
  ];
}
