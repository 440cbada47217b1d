drop table waybill_outbox;
