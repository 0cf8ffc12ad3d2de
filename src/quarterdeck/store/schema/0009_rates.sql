-- How fast the processes of the deck may call a provider, all together. slice, used: how many calls of which slice of
-- time are taken; until: when a provider that wanted to be left alone may be called again.
CREATE TABLE rates (
    name TEXT PRIMARY KEY,
    slice INTEGER NOT NULL DEFAULT 0,
    used INTEGER NOT NULL DEFAULT 0,
    until REAL NOT NULL DEFAULT 0
);
