drop function claims_are_open();
drop table catching_up;
