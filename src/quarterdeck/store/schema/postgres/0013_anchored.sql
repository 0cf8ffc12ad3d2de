CREATE TABLE anchored (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    until BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    streams BIGINT NOT NULL
);

-- How often somebody had the database alone, who may have removed what others knew to be there.
ALTER TABLE schema_version ADD COLUMN sole BIGINT NOT NULL DEFAULT 0;
