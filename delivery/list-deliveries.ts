import { asDatabaseFailure, type Database, type Transaction } from '../process/database.ts';
import type { OrgId, WorkspaceId } from '../schemas/ids.ts';

export const deliveryStates = ['working', 'due', 'waiting', 'ready', 'staged', 'refused', 'parked'] as const;
export type DeliveryState = (typeof deliveryStates)[number];

/** Where one workspace stands that ever had a template or a plugin; the states are those that `explain` puts into words. */
export interface DeliverySummary {
  readonly workspace: WorkspaceId;
  readonly org: OrgId;
  readonly status: string | null;
  readonly epoch: number | null;
  readonly template: string | null;
  readonly state: DeliveryState;
  readonly code: string | null;
  readonly tries: number;
  readonly assetsVersion: number;
}

export interface DeliveryFilter {
  readonly state?: DeliveryState | undefined;
  readonly org?: OrgId | undefined;
  /** Only those after this workspace, in the order of their ids. */
  readonly after?: string | undefined;
  readonly limit: number;
}

const sql = `
  select * from (
    select d.workspace_id as workspace, d.org_id as org, r.status, r.epoch, r.template, d.parked_code as code, coalesce(p.tries, 0) as tries,
      d.assets_version as "assetsVersion",
      case when p.lease_until > clock_timestamp() then 'working'
        when p.at <= clock_timestamp() then 'due'
        when p.at is not null then 'waiting'
        when d.parked_code is not null then 'refused'
        when d.staged is not null then 'staged'
        when (d.announced->>'kind', d.announced->>'epoch', d.announced->>'generation') = ('ready', r.epoch::text, r.generation::text) then 'ready'
        else 'parked' end as state
    from deliveries d left join workspace_records r using (workspace_id) left join pending p using (workspace_id)
    where (:org::uuid is null or d.org_id = :org::uuid) and (:after::uuid is null or d.workspace_id > :after::uuid)
  ) deliveries
  where :state::text is null or state = :state
  order by workspace limit :limit`;

/** The workspaces that match, in the order of their ids. */
export async function listDeliveries(database: Database | Transaction, { state, org, after, limit }: DeliveryFilter): Promise<DeliverySummary[]> {
  try {
    const { rows } = await database.raw<{ rows: DeliverySummary[] }>(sql, { state: state ?? null, org: org ?? null, after: after ?? null, limit });
    return rows;
  } catch (error) {
    throw asDatabaseFailure(error);
  }
}
