-- What every SQL function of a producer database stands on. The functions keep the search path of the schema that they
-- are installed in, so that they may be called from any other. Rules and their TypeScript twins are held equal by
-- test/integration/producers.test.ts.

-- A refusal: SQLSTATE WB001, the stable code as DETAIL and before the message.
create function waybill_refuse(code text, message text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WB001', message = code || ': ' || message, detail = code;
end $$;

create function waybill_check_text(field text, value text, pattern text, expected text) returns text language plpgsql
set search_path from current as $$
begin
  if value is null or value !~ pattern then
    perform waybill_refuse('FIELD_INVALID', format('%s should be %s, but is %s', field, expected, coalesce(left(to_json(value)::text, 80), 'nothing')));
  end if;
  return value;
end $$;

create function waybill_check_slug(field text, value text) returns text language sql
set search_path from current as $$
  select waybill_check_text(field, value, '^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$',
    'a slug of lower-case letters, digits and inner hyphens, 1 to 64 characters')
$$;

create function waybill_check_id(field text, value uuid) returns uuid language plpgsql
set search_path from current as $$
begin
  if value is null then perform waybill_refuse('FIELD_INVALID', field || ' should be a UUID, but is nothing'); end if;
  return value;
end $$;

-- A moment from 1970 to 9999, cut to milliseconds as events carry it.
create function waybill_check_moment(field text, value timestamptz) returns timestamptz language plpgsql
set search_path from current as $$
begin
  if value is null or value < 'epoch' or value >= timestamptz '10000-01-01 00:00:00+00' then
    perform waybill_refuse('FIELD_INVALID', format('%s should be a moment from 1970 to 9999, but is %s', field, coalesce(value::text, 'nothing')));
  end if;
  return date_trunc('milliseconds', value);
end $$;

create function waybill_millis(value timestamptz) returns bigint language sql immutable strict as $$
  select round(extract(epoch from value) * 1000)::bigint
$$;

-- The way back, exact to the year 9999, which a float is not.
create function waybill_moment(millis bigint) returns timestamptz language sql immutable strict as $$
  select to_timestamp(millis / 1000) + (millis % 1000) * interval '1 millisecond'
$$;

-- The version that a team with versions of its own hands over, or the next one.
create function waybill_next_version(field text, current bigint, given bigint) returns bigint language plpgsql
set search_path from current as $$
begin
  if given is null and current >= 9007199254740990 then
    perform waybill_refuse('LONG_OVERFLOW', format('%s is at its last value, 2^53 - 2: there is no next one', field));
  end if;
  if given is null then return coalesce(current, 0) + 1; end if;
  if given < 1 or given > 9007199254740990 then
    perform waybill_refuse(case when given < 1 then 'FIELD_INVALID' else 'LONG_OVERFLOW' end, format('%s should be a positive integer of at most 2^53 - 2, but is %s', field, given));
  end if;
  if given <= coalesce(current, 0) then
    perform waybill_refuse('STALE_VERSION', format('%s should be greater than the current one, %s, but is %s', field, current, given));
  end if;
  return given;
end $$;

-- Twin of deriveEventId in schemas/ids.ts: RFC 9562 version 8 of a SHA-256, so that a repeat is seen as one (I5).
create function waybill_event_id(type text, key text, version bigint) returns uuid language sql immutable strict as $$
  select (left(h, 8) || '-' || substr(h, 9, 4) || '-8' || substr(h, 14, 3) || '-'
    || translate(substr(h, 17, 1), '0123456789abcdef', '89ab89ab89ab89ab') || substr(h, 18, 3) || '-' || substr(h, 21, 12))::uuid
  from (select encode(sha256(convert_to(type || E'\n' || key || E'\n' || version, 'UTF8')), 'hex') as h) hashed
$$;

-- Appends one event to the outbox, in the caller's transaction, and returns it complete. `body` is the event without its
-- envelope; `about` may hold caused_by, run_id and traceparent. The relay validates and encodes.
create function waybill_append_event(type text, topic text, key text, event_id uuid, body jsonb, about jsonb) returns jsonb language plpgsql
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
