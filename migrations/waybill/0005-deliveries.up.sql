-- One row per workspace that ever had a template or a plugin (C6, I15). Never deleted while roles run.
create table deliveries (
  workspace_id uuid primary key,
  org_id uuid not null,
  -- Minted with every event on waybill.assets (I6).
  assets_version bigint not null default 0,
  -- The current attempt: permit and finish are refused to any other (I24).
  attempt bigint,
  -- What the last finish recorded; null: unknown, which counts as different from everything (C9).
  present jsonb,
  -- A complete verified tree of a set that goes live at the next boot (C11).
  staged jsonb,
  -- Between permit and finish: the attempt that is changing files.
  applying jsonb,
  -- The last outcome that was announced.
  announced jsonb,
  -- The last restart that was asked for: epoch and set digest (I25).
  restart_requested jsonb,
  -- The epoch in which something was removed at once while no agent could be asked to restart (C13).
  restart_owed bigint,
  -- When the settle window of a staged change ends; null: nothing is staged that has yet to be asked for.
  restart_due_at timestamptz,
  -- Restarts asked for in the last hour, for the cap.
  restarts_asked timestamptz[] not null default '{}',
  -- Lapses that AssetsRevoked has named since the last finish, as item@version.
  lapses_announced text[] not null default '{}',
  -- Why nothing is pending, in words of the table of codes; null while in work or ready.
  parked_code text
);

create sequence attempt_numbers;
create table attempts (
  attempt bigint primary key,
  workspace_id uuid not null,
  org_id uuid not null,
  -- pending.n as read at start.
  n bigint not null,
  plan jsonb not null,
  -- Which names in aside/ stand for which path and which digests are ours there; written before the first change (I8).
  aside jsonb,
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  outcome text,
  code text,
  detail text
);
create index attempts_workspace on attempts (workspace_id, attempt);

-- Which files are ours: digests delivered to each path; between permit and finish the union of from and to (C8).
create table receipts (
  workspace_id uuid not null,
  path text not null,
  sha256 text not null,
  item_id text not null,
  version text not null,
  primary key (workspace_id, path, sha256)
);
create index receipts_digest on receipts (sha256);

-- Directories that we made, and so may remove when empty.
create table receipt_directories (
  workspace_id uuid not null,
  path text not null,
  primary key (workspace_id, path)
);
