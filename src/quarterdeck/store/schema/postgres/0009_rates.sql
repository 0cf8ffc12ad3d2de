-- How fast the processes of the deck may call a provider, all together. slice, used: how many calls of which slice of
-- time are taken; until: when a provider that wanted to be left alone may be called again.
CREATE TABLE rates (
    name TEXT COLLATE "C" PRIMARY KEY,
    slice BIGINT NOT NULL DEFAULT 0,
    used BIGINT NOT NULL DEFAULT 0,
    until DOUBLE PRECISION NOT NULL DEFAULT 0
);

-- Which steps of which other schemas the database has: procrastinate's, and ours beside it.
CREATE TABLE foundations (
    name TEXT COLLATE "C" NOT NULL,
    step TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (name, step)
);
