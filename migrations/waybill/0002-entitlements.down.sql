drop table entitlement_revisions;
drop table entitlements;
drop table entitlement_lines;
