-- Whether what a machine said holds on when it is gone: 0 for a process that was there for one run alone.
ALTER TABLE told ADD COLUMN lasting BIGINT NOT NULL DEFAULT 1;
