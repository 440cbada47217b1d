drop table key_lists;
alter table attempts drop column receipt_paths, drop column permit_until, drop column grants;
drop index pending_due;
create index pending_due on pending (lane, at);
alter table pending drop column taker;
