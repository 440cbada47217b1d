-- Every entitlement line that billing has minted a version for; lives in billing's database.
create table waybill_lines (
  org_id uuid not null,
  item_id text not null,
  purchase_id text not null,
  entitlement_version bigint not null check (entitlement_version > 0),
  source text not null check (source in ('purchase', 'subscription', 'grant', 'internal')),
  policy text not null,
  valid_from timestamptz not null,
  valid_until timestamptz,
  -- Both null while the line lives; a revoked purchase_id is never minted a live version again (A6).
  ended_at timestamptz,
  reason text check (reason in ('refund', 'non_payment', 'fraud', 'malware', 'operator')),
  primary key (org_id, item_id, purchase_id),
  constraint waybill_lines_end check ((ended_at is null) = (reason is null))
);
