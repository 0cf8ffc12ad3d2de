-- name: places_taken
-- How many places of that name are taken.
SELECT count(*) AS n FROM places WHERE name = :name AND until > :now;

-- name: place_take
-- Take one.
INSERT INTO places (place, name, holder, until) VALUES (:place, :name, :holder, :until);

-- name: place_give
-- Give one back.
DELETE FROM places WHERE place = :place;

-- name: places_keep
-- The process lives, and so do its calls.
UPDATE places SET until = :until WHERE holder = :holder;

-- name: places_forget
-- Places of processes that have died.
DELETE FROM places WHERE name = :name AND until <= :now;

-- name: told_say
-- A machine's file says so.
INSERT INTO told (kind, provider, holder, most, until) VALUES (:kind, :provider, :holder, :most, :until)
ON CONFLICT (kind, provider, holder) DO UPDATE SET most = excluded.most, until = excluded.until;

-- name: told_unsay
-- It says nothing any more; and what processes said that have ended.
DELETE FROM told WHERE (kind = :kind AND holder = :holder) OR until <= :now;

-- name: told_least
-- The least that anybody says of each provider.
SELECT provider, min(most) AS most FROM told WHERE kind = :kind AND until > :now GROUP BY provider;
