drop table baseline_items;
drop table run_items;
drop table runs;
