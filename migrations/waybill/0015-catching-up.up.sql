-- After the database was set back: up to where the consumers have to read again before deliveries act. A worker that knew what
-- was delivered, and not yet what is wanted, would take back what is right and ask for restarts (I26, I25).
create table catching_up (
  topic text not null,
  partition integer not null,
  "end" bigint not null,
  primary key (topic, partition)
);

create function claims_are_open() returns boolean language sql stable set search_path from current as $$
  select minting_is_open() and not exists (
    select from catching_up c where not exists (
      select from consumer_offsets o where o.topic = c.topic and o.partition = c.partition and o.position >= c."end"))
$$;
