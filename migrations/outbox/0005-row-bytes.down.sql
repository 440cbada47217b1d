alter table waybill_outbox drop constraint waybill_outbox_row_bytes;

create or replace function waybill_append_event(type text, topic text, key text, event_id uuid, body jsonb, about jsonb) returns jsonb language plpgsql
set search_path from current as $$
declare
  event jsonb := body || jsonb_build_object(
    'event_id', event_id,
    'occurred_at', waybill_millis(clock_timestamp()),
    'caused_by', (about ->> 'caused_by')::uuid,
    'run_id', (about ->> 'run_id')::uuid);
begin
  insert into waybill_outbox (event_id, topic, key, type, body, headers)
  values (event_id, topic, key, type, event,
    case when about ->> 'traceparent' is null then '{}' else jsonb_build_object('traceparent', about ->> 'traceparent') end);
  return event;
end $$;
