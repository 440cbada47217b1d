import type { Transaction } from '../process/database.ts';
import type { WorkspaceId } from '../schemas/ids.ts';
import { readJson } from './json-row.ts';
import type { StoredRecord } from './mint-record.ts';

/** The control plane's row of a workspace, and the database's clock in milliseconds. `lock`: under its row lock. */
export async function loadRecord(trx: Transaction, workspace_id: WorkspaceId, lock: 'lock' | 'peek'): Promise<{ current: StoredRecord | undefined; now: number }> {
  const read = await readJson(
    trx,
    `select json_build_object('now', waybill_millis(clock_timestamp()), 'record', (
       select waybill_record_json(w) || jsonb_build_object(
         'delivered_to', w.delivered_to, 'ready_epoch', w.ready_epoch, 'ready_generation', w.ready_generation)
       from waybill_workspaces w where w.workspace_id = :workspace_id ${lock === 'lock' ? 'for update' : ''}))::text as r`,
    { workspace_id },
  );
  const { record, now } = read as { record: StoredRecord | null; now: number }; // written by this file and its SQL twin alone
  return { current: record ?? undefined, now };
}

/** Writes a minted record. False when it was to be new and another transaction has inserted it meanwhile. */
export async function putRecord(trx: Transaction, current: StoredRecord | undefined, next: StoredRecord): Promise<boolean> {
  const bindings = {
    workspace_id: next.workspace_id, org_id: next.org_id, runtime: next.runtime, template: next.template, plugins: JSON.stringify(next.plugins),
    status: next.status, delivery_mode: next.delivery_mode, epoch: next.epoch, generation: next.generation, record_version: next.record_version,
    delivered_to: String(next.delivered_to),
  };
  if (current !== undefined) {
    await trx.raw(
      `update waybill_workspaces set runtime = :runtime, template = :template,
         plugins = array(select jsonb_array_elements_text(cast(:plugins as jsonb))), status = :status, epoch = :epoch,
         generation = :generation, record_version = :record_version, delivered_to = cast(:delivered_to as boolean)
       where workspace_id = :workspace_id`, bindings,
    );
    return true;
  }
  const inserted = await readJson(
    trx,
    `with inserted as (
       insert into waybill_workspaces (workspace_id, org_id, runtime, template, plugins, status, delivery_mode, epoch, generation, record_version, delivered_to)
       values (:workspace_id, :org_id, :runtime, :template, array(select jsonb_array_elements_text(cast(:plugins as jsonb))), :status, :delivery_mode,
         :epoch, :generation, :record_version, cast(:delivered_to as boolean))
       on conflict do nothing returning 1)
     select count(*)::text as r from inserted`, bindings,
  );
  return inserted === 1;
}
