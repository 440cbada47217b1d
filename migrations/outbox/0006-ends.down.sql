drop table waybill_outbox_ends;
