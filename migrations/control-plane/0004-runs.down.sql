drop table waybill_run_changes;
drop table waybill_run_fences;
drop trigger waybill_note_template on waybill_workspaces;
drop function waybill_note_template();
alter table waybill_workspaces drop column template_version;
