drop function waybill_record_assets_lost(uuid, bigint);
