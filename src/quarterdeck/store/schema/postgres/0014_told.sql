-- What the file of each machine at work says may be asked of a provider. until: when that counts no longer, because the
-- process that said it has not said it again.
CREATE TABLE told (
    kind TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    holder TEXT COLLATE "C" NOT NULL,
    most BIGINT NOT NULL,
    until DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (kind, provider, holder)
);
