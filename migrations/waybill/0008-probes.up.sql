-- When the identity files were last read as a boot would (C9), and what is known of copies that wait on the volume (I9).
alter table deliveries
  add column probed_at timestamptz,
  -- Asked for by the sweep, or by a pause; true too while the workspace does not run, so that the sweep passes it over.
  add column probe_due boolean not null default false,
  -- The set that a probe found damaged, and the epochs in a row in which it did: no restart loop (I25).
  add column drifted jsonb,
  -- Earlier releases whose copies lie in aside/ until the next fence.
  add column waiting jsonb not null default '[]';
update deliveries set probed_at = '-infinity' where present is not null;
-- Whose last probe is oldest, and how many are under way.
create index deliveries_probed on deliveries (probed_at) where not probe_due;
create index deliveries_probe_due on deliveries (workspace_id) where probe_due;
