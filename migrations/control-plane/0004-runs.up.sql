-- What a backfill, its rollback or an import did here, written in the transaction of each change: this side is the truth about a
-- run that was killed (D5, D6).

-- When the template was changed last, as a record_version: a rollback reverts only what is still the run's own. 0: before this.
alter table waybill_workspaces add column template_version bigint not null default 0;

create function waybill_note_template() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' or new.template is distinct from old.template then new.template_version := new.record_version; end if;
  return new;
end $$;

create trigger waybill_note_template before insert or update on waybill_workspaces
  for each row execute function waybill_note_template();

-- The newest lease of each run. A process whose lease was taken over is refused here, whatever it still believes.
create table waybill_run_fences (
  run_id uuid primary key,
  fence bigint not null
);

create table waybill_run_changes (
  run_id uuid not null,
  workspace_id uuid not null,
  record_version bigint not null,
  epoch bigint not null,
  template_before text,
  template_after text,
  -- The status when it was changed: an online workspace is asked to restart.
  status text not null,
  changed_at timestamptz not null default clock_timestamp(),
  primary key (run_id, workspace_id)
);
create index waybill_run_changes_at on waybill_run_changes (run_id, changed_at);
