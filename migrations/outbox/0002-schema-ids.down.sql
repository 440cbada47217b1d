drop table waybill_schema_ids;
