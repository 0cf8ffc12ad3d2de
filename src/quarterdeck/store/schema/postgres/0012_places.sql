-- Calls to a provider that are under way, where the operator says how many may be. until: when a place is free again that
-- its process, which says every few seconds that it lives, did not give back.
CREATE TABLE places (
    place TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    holder TEXT COLLATE "C" NOT NULL,
    until DOUBLE PRECISION NOT NULL
);

CREATE INDEX places_by_name ON places (name, until);
CREATE INDEX places_by_holder ON places (holder);
