-- What the relay reads at once is bounded by bytes (I22), so a row is bounded too. An event is at most 256 KiB on the wire and
-- never near 1 MiB as JSON; a dead letter carries such an event. Only rows that wait are judged: a mark reads no body again.
update waybill_outbox set refused_code = 'EVENT_TOO_LARGE', refused_reason = 'The row is larger than an outbox takes: 1 MiB of JSON, 4 MiB of bytes.'
where sent_at is null and refused_code is null and (octet_length(body::text) > 1048576 or octet_length(value) > 4194304);
alter table waybill_outbox add constraint waybill_outbox_row_bytes check (
  sent_at is not null or refused_code is not null
  or (coalesce(octet_length(body::text) <= 1048576, true) and coalesce(octet_length(value) <= 4194304, true)));

-- As in 0003, and refuses by name what the table would refuse.
create or replace function waybill_append_event(type text, topic text, key text, event_id uuid, body jsonb, about jsonb) returns jsonb language plpgsql
set search_path from current as $$
declare
  event jsonb := body || jsonb_build_object(
    'event_id', event_id,
    'occurred_at', waybill_millis(clock_timestamp()),
    'caused_by', (about ->> 'caused_by')::uuid,
    'run_id', (about ->> 'run_id')::uuid);
begin
  if octet_length(event::text) > 1048576 then
    perform waybill_refuse('EVENT_TOO_LARGE', format('A %s of %s bytes is larger than the 1048576 that an outbox takes. Send fewer plugins or shorter texts.', type, octet_length(event::text)));
  end if;
  insert into waybill_outbox (event_id, topic, key, type, body, headers)
  values (event_id, topic, key, type, event,
    case when about ->> 'traceparent' is null then '{}' else jsonb_build_object('traceparent', about ->> 'traceparent') end);
  return event;
end $$;
