-- What the schema registry has said, for the time that it is down: a process that starts then still reads and writes all
-- known traffic. Ids mean nothing in another registry.
create table waybill_schema_ids (
  registry_url text not null,
  id integer not null,
  -- The canonical form, enough to read what was written with it: a form may have several ids, an id has one form.
  canonical text not null,
  primary key (registry_url, id)
);
