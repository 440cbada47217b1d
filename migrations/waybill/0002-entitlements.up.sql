-- The projection of marketplace.entitlements: one row per line, tombstones included. Rebuilt from the log.
create table entitlement_lines (
  org_id uuid not null,
  item_id text not null,
  purchase_id text not null,
  entitlement_version bigint not null,
  revoked boolean not null,
  -- SHA-256 over the content, in hex; the last word of the order (version, revoked, digest) (A6).
  digest text not null,
  source text not null,
  policy text not null,
  valid_from timestamptz not null,
  valid_until timestamptz,
  ended_at timestamptz,
  reason text,
  event_id uuid not null,
  primary key (org_id, item_id, purchase_id)
  -- Room for the next version on the same page, so that the index stays as it is.
) with (fillfactor = 70);

-- What the lines of a pair add up to as of the last fold or passing of time; a hint, the decision reads the lines (A8).
create table entitlements (
  org_id uuid not null,
  item_id text not null,
  entitled boolean not null,
  policy text,
  valid_until timestamptz,
  reason text,
  -- When a validity begins or ends next, so that expiry can announce it (A7).
  next_change_at timestamptz,
  primary key (org_id, item_id)
);
create index entitlements_due on entitlements (next_change_at) where next_change_at is not null;

-- Minted by waybill; survives a rebuild of the projection, because outputs only grow.
create table entitlement_revisions (
  org_id uuid not null,
  item_id text not null,
  entitlement_revision bigint not null,
  primary key (org_id, item_id)
) with (fillfactor = 70);
