-- Where the bytes of a release come from (C2). The signed manifest decides what they have to be, wherever that is.
alter table releases add column source text not null default 'brokered' check (source in ('brokered', 'open', 'platform-token'));
-- What was decided because of an event: `waybill explain <event>` asks for it.
create index audit_cause on audit (caused_by) where caused_by is not null;
