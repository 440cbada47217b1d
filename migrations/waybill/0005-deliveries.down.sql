drop table receipt_directories;
drop table receipts;
drop table attempts;
drop sequence attempt_numbers;
drop table deliveries;
