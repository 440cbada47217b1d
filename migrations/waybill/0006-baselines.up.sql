-- What the platform wrote below a config root before waybill existed: files with these digests at these paths count as
-- ours and are replaced by a delivery, not kept as the user's (C8).
create table baselines (
  runtime text not null,
  -- Relative to the config root of the runtime.
  path text not null,
  sha256 text not null,
  recorded_at timestamptz not null default clock_timestamp(),
  primary key (runtime, path, sha256)
);
