-- Calls to a provider that were given out, by slice of time: as many as a minute meets, so that none has more than the
-- operators' rate. What `rates` held of that was the last slice alone.
CREATE TABLE granted (
    name TEXT NOT NULL,
    slice INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (name, slice)
);

ALTER TABLE rates DROP COLUMN slice;
ALTER TABLE rates DROP COLUMN used;
