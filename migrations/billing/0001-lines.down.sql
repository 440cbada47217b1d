drop table waybill_lines;
