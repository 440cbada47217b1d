drop table baselines;
