drop table forgotten_items;
drop trigger minting_has_to_be_open on waybill_outbox;
drop function minting_has_to_be_open();
drop function minting_is_open();
drop table minting;
