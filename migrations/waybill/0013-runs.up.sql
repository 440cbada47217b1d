-- Jobs that an operator starts: replay, rebuild, backfill, rollback of a backfill, import (D1–D8). Everything that a run knows
-- stands here, so that any process can take it over.
create table runs (
  run_id uuid primary key,
  kind text not null check (kind in ('replay', 'rebuild', 'backfill', 'rollback', 'import')),
  state text not null default 'planned' check (state in ('planned', 'running', 'paused', 'aborted', 'done', 'failed')),
  reason text not null,
  -- What was asked and decided. plan_hash is over it and the plans of the items.
  plan jsonb not null,
  plan_hash text not null,
  -- Rate and thresholds; tuned while it runs.
  controls jsonb not null,
  -- What a person asked the process that runs it to do.
  wish text check (wish in ('pause', 'abort')),
  -- Who runs it until when. fence grows with every lease: a process that holds an older one writes nothing any more.
  fence bigint not null default 0,
  lease_until timestamptz not null default '-infinity',
  holder text,
  total bigint not null default 0,
  ok bigint not null default 0,
  failed bigint not null default 0,
  skipped bigint not null default 0,
  -- Where it goes on, in the words of its kind.
  checkpoint jsonb not null default '{}',
  -- Why it waits, while it does.
  throttled text,
  -- Why it stopped by itself.
  stopped_by text,
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  ended_at timestamptz
);
create index runs_created on runs (created_at);

-- The subjects of a run that works through a list: one row each, with what was planned and what came of it.
create table run_items (
  run_id uuid not null references runs,
  -- Of the input, from 1.
  line integer not null,
  subject text not null,
  org_id uuid,
  state text not null check (state in ('planned', 'ok', 'already', 'skipped', 'failed')),
  code text,
  plan jsonb not null,
  result jsonb not null default '{}',
  primary key (run_id, line),
  unique (run_id, subject)
);
create index run_items_open on run_items (run_id, line) where state = 'planned';

-- Whose identity a baseline file is: what the platform wrote for one template before waybill existed (D3). A file that several
-- templates share has a row for each; one without a row is the runtime's own.
create table baseline_items (
  runtime text not null,
  path text not null,
  sha256 text not null,
  item_id text not null,
  primary key (runtime, path, sha256, item_id),
  foreign key (runtime, path, sha256) references baselines
);
