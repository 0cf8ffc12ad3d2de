-- Whether what a machine said holds on when it is gone: 0 for a process that was there for one run alone.
ALTER TABLE told ADD COLUMN lasting INTEGER NOT NULL DEFAULT 1;

-- What was said before was said by processes, and would have no end now. Machines at work say it again within a minute.
DELETE FROM told;
