-- name: deck_now
-- The time, seconds since the epoch, by the clock that all processes of the deck share.
SELECT (julianday('now') - 2440587.5) * 86400.0 AS now;

-- name: granted_of
-- How many calls to a provider were taken of which slice of time.
SELECT slice, calls FROM granted WHERE name = :name;

-- name: granted_add
-- So many more are taken of a slice.
INSERT INTO granted (name, slice, calls) VALUES (:name, :slice, :calls)
ON CONFLICT (name, slice) DO UPDATE SET calls = granted.calls + excluded.calls;

-- name: granted_forget
-- Slices that no minute meets any more, and those of a clock that was ahead.
DELETE FROM granted WHERE name = :name AND (slice < :oldest OR slice > :newest);

-- name: rate_heard
-- A provider wants to be left alone until then. What is later than anybody can have been told was said by a clock that was
-- ahead.
INSERT INTO rates (name, until) VALUES (:name, :until)
ON CONFLICT (name) DO UPDATE SET
    until = CASE WHEN rates.until > :latest THEN excluded.until ELSE max(rates.until, excluded.until) END;

-- name: rate_hold
-- For how many seconds from now a provider wants to be left alone; negative = no longer.
SELECT until - (julianday('now') - 2440587.5) * 86400.0 AS seconds FROM rates WHERE name = :name;
