drop table audit;
drop table dead_letters;
drop table consumer_offsets;
