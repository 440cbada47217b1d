-- Up to where the outbox knows each partition: the offset after the highest that was acknowledged. Sent rows are deleted some
-- day, this is not. What a topic holds beyond, a database that was set back has forgotten (I26).
create table waybill_outbox_ends (
  topic text not null,
  partition integer not null,
  next_offset bigint not null check (next_offset > 0),
  primary key (topic, partition)
  -- Updated with every batch: room on its page keeps the index as it is.
) with (fillfactor = 50);
insert into waybill_outbox_ends (topic, partition, next_offset)
select topic, sent_partition, max(sent_offset) + 1 from waybill_outbox where sent_offset is not null group by topic, sent_partition;
