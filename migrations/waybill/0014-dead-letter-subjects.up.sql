-- What could be read of a refused event: of which line ('' for a record) and which version it is. A later version closes the
-- letter (E4). Null: nothing could be read.
alter table dead_letters add column line text, add column version bigint;
-- Of the digest, because a key may be longer than an index takes.
create index dead_letters_open on dead_letters (consumer, md5(key)) where status = 'open';
