-- The consumer's position, moved in the transaction of the effects by compare-and-set: nothing is applied twice (A3).
create table consumer_offsets (
  consumer text not null,
  topic text not null,
  partition integer not null,
  position bigint not null check (position >= 0),
  -- Offsets mean nothing in another cluster (I26).
  cluster_id text not null,
  -- What became of the records before the position, each in exactly one of these (I4).
  applied bigint not null default 0,
  superseded bigint not null default 0,
  duplicate bigint not null default 0,
  conflict bigint not null default 0,
  dead_lettered bigint not null default 0,
  primary key (consumer, topic, partition)
);

-- Bytes that can never work, as they came, with why (I17). One row per original record and consumer.
create table dead_letters (
  id bigint generated always as identity primary key,
  consumer text not null,
  topic text not null,
  partition integer not null,
  "offset" bigint not null,
  -- The same offset in another cluster is another record.
  cluster_id text not null,
  key bytea,
  value bytea,
  -- Name and value pairs in their order, both base64, because neither need be text.
  headers jsonb not null default '[]',
  code text not null,
  reason text not null,
  status text not null default 'open' check (status in ('open', 'closed', 'redriven', 'discarded')),
  created_at timestamptz not null default clock_timestamp(),
  unique (consumer, cluster_id, topic, partition, "offset")
);

-- What was decided, why, and caused by what (E2). Rows are only ever inserted.
create table audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  -- line, entitlement, workspace, release, item, seller, dead-letter …
  subject_kind text not null,
  subject_id text not null,
  org_id uuid,
  action text not null,
  outcome text not null,
  code text,
  detail jsonb not null default '{}',
  caused_by uuid,
  attempt bigint
);
create index audit_subject on audit (subject_kind, subject_id, id);
