drop function waybill_append_event(text, text, text, uuid, jsonb, jsonb);
drop function waybill_event_id(text, text, bigint);
drop function waybill_next_version(text, bigint, bigint);
drop function waybill_millis(timestamptz);
drop function waybill_check_moment(text, timestamptz);
drop function waybill_check_id(text, uuid);
drop function waybill_check_slug(text, text);
drop function waybill_check_text(text, text, text, text);
drop function waybill_refuse(text, text);
