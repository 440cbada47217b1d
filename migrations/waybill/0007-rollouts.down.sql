alter table fanouts drop column seed, drop column bucket_from, drop column bucket_below;
drop function rollout_bucket;
drop table rollouts;
