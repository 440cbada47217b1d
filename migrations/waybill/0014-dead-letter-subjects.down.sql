drop index dead_letters_open;
alter table dead_letters drop column line, drop column version;
