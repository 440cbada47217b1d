drop trigger audit_insert_only on audit;
drop table audit_head;
drop table audit_links;
drop function audit_refuse_change();
drop index audit_unlinked;
alter table audit drop column xact;
