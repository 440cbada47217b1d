-- Versions are minted only on a server that was compared with the topics since it started (I26): a restored backup, and a
-- standby that was promoted without the last commits, would use versions again that the topics carry already.
create table minting (
  the_only boolean primary key default true check (the_only),
  -- Which server, and which database on it, the relay has compared. Every way to set a database back changes one of them.
  server_started_at timestamptz not null,
  database_oid oid not null
);
insert into minting (server_started_at, database_oid)
select pg_postmaster_start_time(), oid from pg_database where datname = current_database();

create function minting_is_open() returns boolean language sql stable set search_path from current as $$
  select exists (select from minting
    where server_started_at = pg_postmaster_start_time() and database_oid = (select oid from pg_database where datname = current_database()))
$$;

-- On the outbox, because whatever mints a version appends the event that carries it in the same transaction. "Cannot connect
-- now": for the caller it is as if the server were still starting, and is waited for in the same way.
create function minting_has_to_be_open() returns trigger language plpgsql set search_path from current as $$
begin
  if not minting_is_open() then
    raise exception using errcode = '57P03', message = 'the server has started anew and is not yet compared with the topics; a relay of this database does that (waybill run --role relay)';
  end if;
  return null;
end $$;
create trigger minting_has_to_be_open before insert on waybill_outbox for each statement execute function minting_has_to_be_open();

-- The next catalogue_version of an item that the topic knows and the database has forgotten is above this.
create table forgotten_items (
  item_id text primary key,
  catalogue_version bigint not null check (catalogue_version > 0)
);
