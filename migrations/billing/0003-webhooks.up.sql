-- Messages of billing's provider that were dealt with, so that a repeat does nothing again. Kept like the lines that they
-- changed: a repeat may come after any time.
create table waybill_webhooks (
  message_id text primary key,
  -- SHA-256 over route and body: the same id with other content is refused.
  content_sha256 bytea not null,
  -- The newest signature that was taken. A message that is not newer is a replay.
  signed_at timestamptz not null,
  -- What was answered, and is again.
  outcome text not null
);
