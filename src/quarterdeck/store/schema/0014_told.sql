-- What the file of each machine at work says may be asked of a provider. until: when that counts no longer, because the
-- process that said it has not said it again.
CREATE TABLE told (
    kind TEXT NOT NULL,
    provider TEXT NOT NULL,
    holder TEXT NOT NULL,
    most INTEGER NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (kind, provider, holder)
);
