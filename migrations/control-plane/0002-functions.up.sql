-- Changes of workspaces for teams that do not write TypeScript: the same rules, versions and events as
-- producers/control-plane.ts. Call them in the transaction of what they tell about. `about` may hold origin, caused_by,
-- run_id and traceparent; `versions` record_version, generation and epoch of a team that mints its own.
-- They return {outcome: minted or unchanged, record, needs_restart, event}; a refusal is an exception.
-- The catalogue is not asked here: look items up before (GET /v1/catalogue/{item}); the fetch refuses unknown ones (B1).

create function waybill_check_runtime(runtime text) returns text language plpgsql set search_path from current as $$
begin
  if runtime is null or not runtime = any (array['claude-code', 'codex', 'langgraph', 'hermes']) then
    perform waybill_refuse('RUNTIME_UNKNOWN', format('runtime should be one of claude-code, codex, langgraph, hermes, but is %s',
      coalesce(left(to_json(runtime)::text, 80), 'nothing')));
  end if;
  return runtime;
end $$;

-- Sorted, without repeats, at most 100.
create function waybill_check_plugins(plugins text[]) returns text[] language plpgsql set search_path from current as $$
declare
  sorted text[];
begin
  if plugins is null then perform waybill_refuse('FIELD_INVALID', 'plugins should be an array, but is nothing'); end if;
  perform waybill_check_slug('plugins', p) from unnest(plugins) p;
  sorted := array(select distinct p collate "C" from unnest(plugins) p order by 1);
  if cardinality(sorted) > 100 then
    perform waybill_refuse('FIELD_INVALID', format('plugins should be at most 100, but are %s', cardinality(sorted)));
  end if;
  return sorted;
end $$;

create function waybill_record_json(record waybill_workspaces) returns jsonb language sql stable set search_path from current as $$
  select jsonb_build_object(
    'workspace_id', record.workspace_id, 'org_id', record.org_id, 'runtime', record.runtime, 'template', record.template,
    'plugins', to_jsonb(record.plugins), 'status', record.status, 'delivery_mode', record.delivery_mode,
    'epoch', record.epoch, 'generation', record.generation, 'record_version', record.record_version)
$$;

-- Whether what the record asks for goes live only in another epoch (C11): the newest AssetsReady is not about it.
create function waybill_needs_restart(record waybill_workspaces) returns boolean language sql stable as $$
  select record.delivered_to and record.status not in ('provisioning', 'removed')
    and (record.ready_epoch, record.ready_generation) is distinct from (record.epoch, record.generation)
$$;

create function waybill_record_result(outcome text, record waybill_workspaces, event jsonb default null) returns jsonb language sql stable
set search_path from current as $$
  select jsonb_build_object('outcome', outcome, 'record', waybill_record_json(record), 'needs_restart', waybill_needs_restart(record))
    || case when event is null then '{}' else jsonb_build_object('event', event) end
$$;

-- Locks the record of a workspace that is to change; refuses an unknown, a removed and a stale one.
create function waybill_lock_record(workspace_id uuid, if_version bigint, removed_too boolean default false) returns waybill_workspaces
language plpgsql set search_path from current as $$
declare
  record waybill_workspaces;
begin
  perform waybill_check_id('workspace_id', workspace_id);
  select * into record from waybill_workspaces w where w.workspace_id = waybill_lock_record.workspace_id for update;
  if not found then
    perform waybill_refuse('NOT_FOUND', format('workspace %s: never provisioned', workspace_id));
  end if;
  if record.record_version is distinct from coalesce(if_version, record.record_version) then
    perform waybill_refuse('STALE_VERSION', format('workspace %s: record_version is %s, not %s', workspace_id, record.record_version, if_version));
  end if;
  if record.status = 'removed' and not removed_too then
    perform waybill_refuse('REMOVED', format('workspace %s: removed, and not used again', workspace_id));
  end if;
  return record;
end $$;

-- Mints the versions of a changed record, writes it under its lock and appends its event.
create function waybill_mint_record(type text, current waybill_workspaces, next waybill_workspaces, boots boolean, versions jsonb, about jsonb)
returns jsonb language plpgsql set search_path from current as $$
declare
  delivers boolean := current.workspace_id is null or
    (current.runtime, current.template, current.plugins) is distinct from (next.runtime, next.template, next.plugins);
  origin text := coalesce(about ->> 'origin', 'user');
begin
  perform waybill_check_text('origin', origin, '^(?:user|backfill|rollback|import|system)$', 'one of user, backfill, rollback, import, system');
  next.record_version := waybill_next_version('record_version', current.record_version, (versions ->> 'record_version')::bigint);
  next.generation := waybill_mint_when(delivers, 'generation', current.generation, (versions ->> 'generation')::bigint);
  next.epoch := waybill_mint_when(boots, 'epoch', current.epoch, (versions ->> 'epoch')::bigint);
  next.delivered_to := coalesce(current.delivered_to, false) or next.template is not null or cardinality(next.plugins) > 0;
  if current.workspace_id is null then
    insert into waybill_workspaces values (next.*) on conflict do nothing;
    if not found then return null; end if;
  else
    update waybill_workspaces w
    set runtime = next.runtime, template = next.template, plugins = next.plugins, status = next.status, epoch = next.epoch,
      generation = next.generation, record_version = next.record_version, delivered_to = next.delivered_to
    where w.workspace_id = next.workspace_id;
  end if;
  return waybill_record_result('minted', next, waybill_append_event(
    type, 'controlplane.workspaces', next.workspace_id::text, waybill_event_id(type, next.workspace_id::text, next.record_version),
    waybill_record_json(next) || jsonb_build_object('origin', origin), about));
end $$;

create function waybill_mint_when(grows boolean, field text, current bigint, given bigint) returns bigint language plpgsql
set search_path from current as $$
begin
  if grows then return waybill_next_version(field, current, given); end if;
  if given <> current then
    perform waybill_refuse('FIELD_INVALID', format('%s should stay %s in this change, but is %s', field, current, given));
  end if;
  return current;
end $$;

-- A new workspace: epoch 1, status provisioning. The same again changes nothing.
create function waybill_provision_workspace(
  workspace_id uuid, org_id uuid, runtime text, template text default null, plugins text[] default '{}', delivery_mode text default 'volume',
  versions jsonb default null, about jsonb default '{}'
) returns jsonb language plpgsql set search_path from current as $$
declare
  current waybill_workspaces;
  next waybill_workspaces;
  result jsonb;
begin
  next.workspace_id := waybill_check_id('workspace_id', workspace_id);
  next.org_id := waybill_check_id('org_id', org_id);
  next.runtime := waybill_check_runtime(runtime);
  if template is not null then next.template := waybill_check_slug('template', template); end if;
  next.plugins := waybill_check_plugins(plugins);
  next.delivery_mode := waybill_check_text('delivery_mode', delivery_mode, '^(?:volume|box)$', 'one of volume, box');
  next.status := 'provisioning';
  loop
    select * into current from waybill_workspaces w where w.workspace_id = next.workspace_id for update;
    if not found then
      result := waybill_mint_record('WorkspaceProvisioned', current, next, true, versions, about);
      if result is not null then return result; end if;
    elsif current.status = 'removed' then
      perform waybill_refuse('REMOVED', format('workspace %s: removed, and not used again', workspace_id));
    elsif (current.org_id, current.runtime, current.template, current.plugins, current.delivery_mode)
      is not distinct from (next.org_id, next.runtime, next.template, next.plugins, next.delivery_mode) then
      return waybill_record_result('unchanged', current);
    else
      perform waybill_refuse('STALE_VERSION', format('workspace %s: provisioned already with other content, as record_version %s', workspace_id, current.record_version));
    end if;
  end loop;
end $$;

create function waybill_change_template(
  workspace_id uuid, template text, if_version bigint default null, versions jsonb default null, about jsonb default '{}'
) returns jsonb language plpgsql set search_path from current as $$
declare
  current waybill_workspaces;
  next waybill_workspaces;
begin
  if template is not null then perform waybill_check_slug('template', template); end if;
  current := waybill_lock_record(workspace_id, if_version);
  if current.template is not distinct from template then return waybill_record_result('unchanged', current); end if;
  next := current;
  next.template := template;
  return waybill_mint_record('TemplateChanged', current, next, false, versions, about);
end $$;

-- `plugins` is the whole list.
create function waybill_change_plugins(
  workspace_id uuid, plugins text[], if_version bigint default null, versions jsonb default null, about jsonb default '{}'
) returns jsonb language plpgsql set search_path from current as $$
declare
  sorted text[] := waybill_check_plugins(plugins);
  current waybill_workspaces := waybill_lock_record(workspace_id, if_version);
  next waybill_workspaces := current;
begin
  if current.plugins = sorted then return waybill_record_result('unchanged', current); end if;
  next.plugins := sorted;
  return waybill_mint_record('PluginsChanged', current, next, false, versions, about);
end $$;

-- online: refused until AssetsReady of this (epoch, generation) was recorded, where there ever was something to deliver
-- (C11). provisioning is a new boot: waybill_start_epoch. removed: for ever.
create function waybill_change_status(
  workspace_id uuid, status text, if_version bigint default null, versions jsonb default null, about jsonb default '{}'
) returns jsonb language plpgsql set search_path from current as $$
declare
  current waybill_workspaces;
  next waybill_workspaces;
begin
  perform waybill_check_text('status', status, '^(?:online|paused|hibernated|removed|failed)$', 'one of online, paused, hibernated, removed, failed');
  current := waybill_lock_record(workspace_id, if_version, status = 'removed');
  if current.status = status then return waybill_record_result('unchanged', current); end if;
  if current.status in ('hibernated', 'failed') and status not in ('removed', 'failed') then
    perform waybill_refuse('FIELD_INVALID', format('status should be removed or failed while %s, but is %s: a new epoch leads out', current.status, status));
  end if;
  next := current;
  next.status := status;
  if status = 'online' and waybill_needs_restart(next) then
    perform waybill_refuse('MISSING_ASSETS', format('workspace %s: no AssetsReady of epoch %s, generation %s was recorded', workspace_id, current.epoch, current.generation));
  end if;
  return waybill_mint_record('WorkspaceStatusChanged', current, next, false, versions, about);
end $$;

-- A new boot: epoch + 1, status provisioning. `ends_epoch` is what RestartRequested asks to end: when the workspace is in
-- a later one, it was done. `runtime`: another image from this boot on.
create function waybill_start_epoch(
  workspace_id uuid, ends_epoch bigint default null, runtime text default null, if_version bigint default null, versions jsonb default null,
  about jsonb default '{}'
) returns jsonb language plpgsql set search_path from current as $$
declare
  current waybill_workspaces;
  next waybill_workspaces;
begin
  if runtime is not null then perform waybill_check_runtime(runtime); end if;
  current := waybill_lock_record(workspace_id, if_version);
  if current.epoch > ends_epoch then return waybill_record_result('unchanged', current); end if;
  next := current;
  next.status := 'provisioning';
  next.runtime := coalesce(runtime, current.runtime);
  return waybill_mint_record('WorkspaceProvisioned', current, next, true, versions, about);
end $$;

-- Remembers an AssetsReady, unless a newer one is known; true when it was news.
create function waybill_record_assets_ready(workspace_id uuid, epoch bigint, generation bigint, assets_version bigint) returns boolean
language plpgsql set search_path from current as $$
begin
  update waybill_workspaces w
  set ready_epoch = waybill_record_assets_ready.epoch, ready_generation = waybill_record_assets_ready.generation,
    ready_assets_version = assets_version
  where w.workspace_id = waybill_record_assets_ready.workspace_id and coalesce(w.ready_assets_version, 0) < assets_version;
  return found;
end $$;
