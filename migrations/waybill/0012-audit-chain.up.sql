-- Which transaction wrote the row: the chainer finds what it has yet to link by it, whatever order transactions commit in.
-- An id is taken before its commit, so no row may be looked for by `id > last`.
alter table audit add column xact xid8 not null default pg_current_xact_id();
create index audit_unlinked on audit (xact, id);

-- The chain over the audit (I20), written by one chainer after the commits. hash = SHA-256(hash before || digest).
create table audit_links (
  position bigint primary key check (position > 0),
  audit_id bigint not null unique,
  -- SHA-256 over the row (process/audit-chain.ts).
  digest bytea not null check (length(digest) = 32),
  hash bytea not null check (length(hash) = 32)
);

-- Where the chain ends, and how far it is sealed: published to where the rights on this database do not reach. One row.
create table audit_head (
  the_only boolean primary key default true check (the_only),
  position bigint not null,
  hash bytea not null,
  -- Every row of an earlier transaction is linked.
  floor_xact xid8 not null,
  sealed_position bigint not null,
  sealed_hash bytea not null
);
insert into audit_head values (true, 0, '\x0000000000000000000000000000000000000000000000000000000000000000', '0', 0,
  '\x0000000000000000000000000000000000000000000000000000000000000000');

-- Rows are only ever inserted, whoever asks. Against who may alter the tables there is the chain.
create function audit_refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'rows of % are only ever inserted: % is refused', tg_table_name, tg_op using errcode = 'insufficient_privilege';
end $$;
create trigger audit_insert_only before update or delete or truncate on audit
  for each statement execute function audit_refuse_change();
create trigger audit_links_insert_only before update or delete or truncate on audit_links
  for each statement execute function audit_refuse_change();
