drop index audit_cause;
alter table releases drop column source;
