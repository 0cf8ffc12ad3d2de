-- Calls to a provider that are under way, where the operator says how many may be. until: when a place is free again that
-- its process, which says every few seconds that it lives, did not give back.
CREATE TABLE places (
    place TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    holder TEXT NOT NULL,
    until REAL NOT NULL
);

CREATE INDEX places_by_name ON places (name, until);
CREATE INDEX places_by_holder ON places (holder);
