-- What AssetsReady said holds no longer: AssetsRejected, or AssetsRevoked of what was removed. `online` is refused from then on,
-- until another AssetsReady (C11, C13). True when it was news: a newer word of this workspace changes nothing.
create function waybill_record_assets_lost(workspace_id uuid, assets_version bigint) returns boolean
language plpgsql set search_path from current as $$
begin
  update waybill_workspaces w
  set ready_epoch = null, ready_generation = null, ready_assets_version = waybill_record_assets_lost.assets_version
  where w.workspace_id = waybill_record_assets_lost.workspace_id
    and coalesce(w.ready_assets_version, 0) < waybill_record_assets_lost.assets_version;
  return found;
end $$;
comment on column waybill_workspaces.ready_assets_version is 'Of the newest word on its assets that was recorded, whether it said ready or not.';
