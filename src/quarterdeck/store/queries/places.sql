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
