delete from workspace_items where item_id like 'baseline:%';
drop table templated_workspaces;
drop table runtime_baselines;
