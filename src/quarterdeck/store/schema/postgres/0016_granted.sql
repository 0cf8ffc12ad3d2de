-- Calls to a provider that were given out, by slice of time: as many as a minute meets, so that none has more than the
-- operators' rate. What `rates` held of that was the last slice alone.
CREATE TABLE granted (
    name TEXT COLLATE "C" NOT NULL,
    slice BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    PRIMARY KEY (name, slice)
);

ALTER TABLE rates DROP COLUMN slice;
ALTER TABLE rates DROP COLUMN used;
