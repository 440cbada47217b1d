drop table waybill_workspaces;
