-- name: deck_now
-- The time, seconds since the epoch, by the server's clock.
SELECT extract(epoch FROM clock_timestamp())::double precision AS now;

-- name: rate_hold
-- For how many seconds from now a provider wants to be left alone; negative = no longer.
SELECT until - extract(epoch FROM clock_timestamp())::double precision AS seconds FROM rates WHERE name = :name;
