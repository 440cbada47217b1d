alter table deliveries drop column probed_at, drop column probe_due, drop column drifted, drop column waiting;
