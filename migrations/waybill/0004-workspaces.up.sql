-- The projection of controlplane.workspaces: what the control plane wants now. Rebuilt from the log.
create table workspace_records (
  workspace_id uuid primary key,
  org_id uuid not null,
  runtime text not null,
  template text,
  plugins text[] not null,
  status text not null,
  delivery_mode text not null,
  epoch bigint not null,
  generation bigint not null,
  record_version bigint not null,
  removed boolean not null,
  digest text not null,
  origin text not null,
  event_id uuid not null
);

-- Which workspaces name, hold, have staged or are applying an item: who is woken when the item or an entitlement changes.
create table workspace_items (
  item_id text not null,
  workspace_id uuid not null,
  -- named: by the record (written by the fold). held: present, staged or applying (written by permit, staged and finish).
  via text not null check (via in ('named', 'held')),
  org_id uuid not null,
  primary key (item_id, workspace_id, via)
);
create index workspace_items_workspace on workspace_items (workspace_id, via);
-- The holders in one org, without reading those of every other org that has a popular item.
create index workspace_items_org_item on workspace_items (org_id, item_id);

-- Due workspaces. Knows no business words; every room may wake (process/pending.ts).
create sequence pending_n;
create table pending (
  workspace_id uuid primary key,
  org_id uuid not null,
  -- Changes with every wake: finish deletes the row only if n is what it read at start, so no wake is lost (C12).
  n bigint not null default nextval('pending_n'),
  -- 0 urgent, 1 live, 2 backfill, 3 replay.
  lane smallint not null default 1 check (lane between 0 and 3),
  at timestamptz not null default clock_timestamp(),
  tries integer not null default 0,
  paused boolean not null default false,
  lease_until timestamptz not null default '-infinity',
  attempt bigint
);
create index pending_due on pending (lane, at);

-- More workspaces to wake than one transaction should: woken in pages, the cursor moves with the page.
create table fanouts (
  id bigint generated always as identity primary key,
  item_id text not null,
  -- Null: of every org.
  org_id uuid,
  lane text not null default 'live' check (lane in ('urgent', 'live', 'backfill', 'replay')),
  cursor uuid not null default '00000000-0000-0000-0000-000000000000',
  done_at timestamptz
);
create index fanouts_open on fanouts (id) where done_at is null;
