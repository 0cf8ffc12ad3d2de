-- name: deck_now
-- The time, seconds since the epoch, by the clock that all processes of the deck share.
SELECT (julianday('now') - 2440587.5) * 86400.0 AS now;

-- name: rate_get
-- Which slice of time calls of that name were last taken from, and how many.
SELECT slice, used FROM rates WHERE name = :name;

-- name: rate_set
-- So many calls of a slice are taken.
INSERT INTO rates (name, slice, used) VALUES (:name, :slice, :used)
ON CONFLICT (name) DO UPDATE SET slice = excluded.slice, used = excluded.used;

-- name: rate_heard
-- A provider wants to be left alone until then.
INSERT INTO rates (name, until) VALUES (:name, :until)
ON CONFLICT (name) DO UPDATE SET until = max(rates.until, excluded.until);

-- name: rate_hold
-- For how many seconds from now a provider wants to be left alone; negative = no longer.
SELECT until - (julianday('now') - 2440587.5) * 86400.0 AS seconds FROM rates WHERE name = :name;
