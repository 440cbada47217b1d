-- A channel that is moved in steps (B3). While it is open, the channel still leads to from_version; the workspaces of the
-- current step get to_version instead.
create table rollouts (
  id bigint generated always as identity primary key,
  item_id text not null,
  channel text not null,
  from_version text not null,
  to_version text not null,
  -- Which workspaces come first: see rollout_bucket.
  seed uuid not null,
  -- Shares of the workspaces, growing, in ten-thousandths; the last one is everybody.
  steps integer[] not null check (cardinality(steps) > 0 and 10000 = steps[cardinality(steps)]),
  -- The current step, from 1.
  step integer not null default 1 check (step between 1 and cardinality(steps)),
  state text not null default 'running' check (state in ('running', 'halted', 'done', 'aborted')),
  -- Least time that a step is watched, and when too much has failed.
  watch_ms bigint not null check (watch_ms >= 0),
  failures_max integer not null check (failures_max > 0),
  failed_share_max integer not null check (failed_share_max between 0 and 10000),
  -- Failures that were known when it was resumed.
  failures_known integer not null default 0,
  -- Why it was started, and why it is in its state.
  reason text not null,
  state_reason text not null,
  started_at timestamptz not null default clock_timestamp(),
  step_started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  foreign key (item_id, channel) references channels,
  foreign key (item_id, from_version) references releases,
  foreign key (item_id, to_version) references releases
);
-- One at a time on a channel.
create unique index rollouts_open on rollouts (item_id, channel) where state in ('running', 'halted');

-- Bucket of a workspace, 0 to 9999: the twin of bucketOf in catalogue/rollout.ts.
create function rollout_bucket(seed uuid, workspace_id uuid) returns integer
  language sql immutable parallel safe
  -- In a form that PostgreSQL inlines: every function in it is immutable.
  as $$ select (('x' || substr(encode(sha256((seed::text || '/' || workspace_id::text)::bytea), 'hex'), 1, 8))::bit(32)::bigint % 10000)::integer $$;

-- A step wakes the workspaces that it adds, and no others: buckets from bucket_from to below bucket_below.
alter table fanouts
  add column seed uuid,
  add column bucket_from integer,
  add column bucket_below integer,
  add constraint fanouts_buckets check ((seed is null) = (bucket_from is null) and (seed is null) = (bucket_below is null));
