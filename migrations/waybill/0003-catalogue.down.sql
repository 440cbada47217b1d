drop table channels;
drop table releases;
drop table items;
drop table sellers;
