drop table dpop_proofs;
