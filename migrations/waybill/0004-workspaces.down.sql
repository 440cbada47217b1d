drop table fanouts;
drop table pending;
drop sequence pending_n;
drop table workspace_items;
drop table workspace_records;
