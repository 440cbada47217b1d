-- The transactional outbox of one database (A4): rows are appended in the transaction of their cause and published by
-- the relay, the only publisher. Events are JSON here, so that SQL can append them too; the relay validates and encodes.
create table waybill_outbox (
  id bigint generated always as identity primary key,
  event_id uuid not null,
  topic text not null,
  key text not null,
  -- The relay's unit of exclusive work: per key, rows leave in the order of id (I5).
  shard smallint not null generated always as ((hashtextextended(key, 0) & 15)::smallint) stored,
  type text not null,
  -- Exactly one of: an event as JSON, or bytes that are published as they are (dead letters). json and not jsonb, because
  -- it is written once and read once.
  body json,
  value bytea,
  headers jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  sent_at timestamptz,
  sent_partition integer,
  -- The acknowledged offset: how a database that was set back is recognised (I26).
  sent_offset bigint,
  -- A row that can never be encoded is marked, dead-lettered and passed over.
  refused_code text,
  refused_reason text,
  constraint waybill_outbox_body_or_value check ((body is null) <> (value is null))
);

create index waybill_outbox_unsent on waybill_outbox (shard, id) where sent_at is null and refused_code is null;
-- What was said of one workspace, in order; for people who ask why. Partial: the events that come in batches pay nothing.
create index waybill_outbox_assets on waybill_outbox (key, id) where topic = 'waybill.assets';
