drop function waybill_revoke(uuid, text, text, text, timestamptz, text, text, timestamptz, timestamptz, bigint, jsonb);
drop function waybill_severity(text);
drop function waybill_purchase(uuid, text, text, text, text, timestamptz, timestamptz, bigint, jsonb);
drop function waybill_mint_line(waybill_lines, waybill_lines, jsonb);
drop function waybill_line_json(waybill_lines);
drop function waybill_checked_line(uuid, text, text, text, text, timestamptz, timestamptz);
