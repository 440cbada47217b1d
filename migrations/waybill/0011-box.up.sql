-- Who may take a due workspace: the workers, or the agent in the workspace itself (delivery mode `box`).
alter table pending add column taker text not null default 'worker' check (taker in ('worker', 'box'));
update pending set taker = 'box' where workspace_id in (select workspace_id from workspace_records where delivery_mode = 'box');
drop index pending_due;
create index pending_due on pending (taker, lane, at);

alter table attempts
  -- Grants given to this attempt: a budget, so that a stolen identity is no endless supply (C3).
  add column grants integer not null default 0,
  -- Until when the permit of a box lives; null: none was given.
  add column permit_until timestamptz,
  -- Paths that had receipts before that permit made them the union of from and to: what is an edit there, and what always was the user's.
  add column receipt_paths text[];

-- Which keys may sign manifests and leases, as the root keys signed it. Rows are only ever inserted, by ascending version.
create table key_lists (
  version bigint primary key check (version > 0),
  -- The text that was signed, and who signed it: [{key_id, signature}].
  signed text not null,
  signatures jsonb not null,
  published_at timestamptz not null default clock_timestamp()
);
