-- The item of each runtime that is delivered when a template is cleared (C6).
create table runtime_baselines (
  runtime text primary key,
  item_id text not null references items
);

-- Workspaces that ever named a template, for ever: what is cleared was there (C6). Written by the fold, in any order of events.
create table templated_workspaces (
  workspace_id uuid primary key
);
insert into templated_workspaces
select workspace_id from workspace_records where template is not null
union
select subject_id::uuid from audit where subject_kind = 'workspace' and jsonb_typeof(detail->'template') = 'string';
insert into workspace_items (item_id, workspace_id, via, org_id)
select 'baseline:' || runtime, workspace_id, 'named', org_id
from workspace_records join templated_workspaces using (workspace_id) where template is null and not removed;
