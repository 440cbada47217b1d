drop table waybill_webhooks;
