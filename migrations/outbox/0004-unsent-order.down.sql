drop index waybill_outbox_unsent;
create index waybill_outbox_unsent on waybill_outbox (shard, id) where sent_at is null and refused_code is null;
