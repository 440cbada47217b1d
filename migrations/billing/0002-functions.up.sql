-- Purchases and revocations for teams that do not write TypeScript: the same rules, versions and events as
-- producers/billing.ts. Call them in the transaction of what they tell about. `about` may hold caused_by, run_id and
-- traceparent. They return {outcome: minted, unchanged or refused, code, line, event}; wrong input is an exception.

create function waybill_checked_line(
  org_id uuid, item_id text, purchase_id text, source text, policy text, valid_from timestamptz, valid_until timestamptz
) returns waybill_lines language plpgsql set search_path from current as $$
declare
  line waybill_lines;
begin
  line.org_id := waybill_check_id('org_id', org_id);
  line.item_id := waybill_check_slug('item_id', item_id);
  line.purchase_id := waybill_check_text('purchase_id', purchase_id, '^[!-.0-~]{1,200}$', '1 to 200 printable characters without blank or slash');
  line.source := waybill_check_text('source', source, '^(?:purchase|subscription|grant|internal)$', 'one of purchase, subscription, grant, internal');
  line.policy := waybill_check_text('policy', policy,
    '^(?:(?:0|[1-9][0-9]{0,8})\.(?:0|[1-9][0-9]{0,8})\.(?:0|[1-9][0-9]{0,8})|[a-z](?:[a-z0-9-]{0,62}[a-z0-9])?)$',
    'an exact version x.y.z or the name of a channel');
  line.valid_from := waybill_check_moment('valid_from', valid_from);
  if valid_until is not null then
    line.valid_until := waybill_check_moment('valid_until', valid_until);
    if line.valid_until <= line.valid_from then
      perform waybill_refuse('FIELD_INVALID', format('valid_until should be null or after valid_from (%s), but is %s', line.valid_from, line.valid_until));
    end if;
  end if;
  return line;
end $$;

create function waybill_line_json(line waybill_lines) returns jsonb language sql stable set search_path from current as $$
  select jsonb_build_object(
    'org_id', line.org_id, 'item_id', line.item_id, 'purchase_id', line.purchase_id, 'entitlement_version', line.entitlement_version,
    'source', line.source, 'policy', line.policy, 'valid_from', waybill_millis(line.valid_from), 'valid_until', waybill_millis(line.valid_until))
  || case when line.ended_at is null then '{}'
     else jsonb_build_object('ended_at', waybill_millis(line.ended_at), 'reason', line.reason) end
$$;

-- Writes the line under its lock and appends its event. Null when another transaction inserted the same line meanwhile.
create function waybill_mint_line(current waybill_lines, next waybill_lines, about jsonb) returns jsonb language plpgsql
set search_path from current as $$
declare
  type text := case when next.ended_at is null then 'Purchase' else 'Revoke' end;
  body jsonb := waybill_line_json(next);
  pair text := next.org_id || '/' || next.item_id;
begin
  if current.purchase_id is null then
    insert into waybill_lines values (next.*) on conflict do nothing;
    if not found then return null; end if;
  else
    update waybill_lines l
    set entitlement_version = next.entitlement_version, source = next.source, policy = next.policy, valid_from = next.valid_from,
      valid_until = next.valid_until, ended_at = next.ended_at, reason = next.reason
    where l.org_id = next.org_id and l.item_id = next.item_id and l.purchase_id = next.purchase_id;
  end if;
  return jsonb_build_object('outcome', 'minted', 'line', body, 'event', waybill_append_event(
    type, 'marketplace.entitlements', pair,
    waybill_event_id(type, pair || '/' || next.purchase_id, next.entitlement_version), body, about));
end $$;

-- A purchase, renewal or change of terms. Refused with code REVOKED, as a result, when the purchase_id was revoked (A6).
create function waybill_purchase(
  org_id uuid, item_id text, purchase_id text, source text, policy text, valid_from timestamptz, valid_until timestamptz default null,
  entitlement_version bigint default null, about jsonb default '{}'
) returns jsonb language plpgsql set search_path from current as $$
declare
  current waybill_lines;
  next waybill_lines := waybill_checked_line(org_id, item_id, purchase_id, source, policy, valid_from, valid_until);
  result jsonb;
begin
  loop
    select * into current from waybill_lines l
    where l.org_id = next.org_id and l.item_id = next.item_id and l.purchase_id = next.purchase_id for update;
    if current.ended_at is not null then
      return jsonb_build_object('outcome', 'refused', 'code', 'REVOKED', 'line', waybill_line_json(current));
    end if;
    if (current.source, current.policy, current.valid_from, current.valid_until)
      is not distinct from (next.source, next.policy, next.valid_from, next.valid_until) then
      return jsonb_build_object('outcome', 'unchanged', 'line', waybill_line_json(current));
    end if;
    next.entitlement_version := waybill_next_version('entitlement_version', current.entitlement_version, entitlement_version);
    result := waybill_mint_line(current, next, about);
    if result is not null then return result; end if;
  end loop;
end $$;

-- How severe a reason is (C13): a revoked line takes a severer one, never a milder one.
create function waybill_severity(reason text) returns integer language sql immutable as $$
  select array_position(array['non_payment', 'refund', 'operator', 'fraud', 'malware'], reason)
$$;

-- Ends a line for ever; it stays as a tombstone. The terms are needed only for a purchase that billing has not seen:
-- its revocation may come first. ended_at: now, unless given.
create function waybill_revoke(
  org_id uuid, item_id text, purchase_id text, reason text, ended_at timestamptz default null,
  source text default null, policy text default null, valid_from timestamptz default null, valid_until timestamptz default null,
  entitlement_version bigint default null, about jsonb default '{}'
) returns jsonb language plpgsql set search_path from current as $$
declare
  current waybill_lines;
  unseen waybill_lines;
  next waybill_lines;
  result jsonb;
begin
  perform waybill_check_id('org_id', org_id), waybill_check_slug('item_id', item_id),
    waybill_check_text('purchase_id', purchase_id, '^[!-.0-~]{1,200}$', '1 to 200 printable characters without blank or slash'),
    waybill_check_text('reason', reason, '^(?:refund|non_payment|fraud|malware|operator)$', 'one of refund, non_payment, fraud, malware, operator'),
    waybill_check_moment('ended_at', coalesce(ended_at, clock_timestamp()));
  if source is not null then unseen := waybill_checked_line(org_id, item_id, purchase_id, source, policy, valid_from, valid_until); end if;
  loop
    select * into current from waybill_lines l
    where l.org_id = waybill_revoke.org_id and l.item_id = waybill_revoke.item_id and l.purchase_id = waybill_revoke.purchase_id for update;
    if not found and source is null then
      perform waybill_refuse('NOT_FOUND', format('billing has no purchase %s of %s/%s; give its terms to keep its revocation', purchase_id, org_id, item_id));
    end if;
    if waybill_severity(current.reason) >= waybill_severity(reason) then
      return jsonb_build_object('outcome', 'unchanged', 'line', waybill_line_json(current));
    end if;
    next := case when current.purchase_id is null then unseen else current end;
    next.ended_at := date_trunc('milliseconds', coalesce(ended_at, clock_timestamp()));
    next.reason := reason;
    next.entitlement_version := waybill_next_version('entitlement_version', current.entitlement_version, entitlement_version);
    result := waybill_mint_line(current, next, about);
    if result is not null then return result; end if;
  end loop;
end $$;
