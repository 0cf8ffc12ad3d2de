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
INSERT INTO told (kind, provider, holder, most, until, lasting)
VALUES (:kind, :provider, :holder, :most, :until, :lasting)
ON CONFLICT (kind, provider, holder) DO UPDATE SET most = excluded.most, until = excluded.until;

-- name: told_unsay
-- It says nothing any more; nor do those that are gone and had no lasting word.
DELETE FROM told WHERE holder = :holder OR (lasting = 0 AND until <= :now);

-- name: told_by
-- What a machine says, or said when it was there.
SELECT kind, provider, most, until FROM told WHERE holder = :holder;

-- name: told_withdraw
-- A machine says nothing of that any more.
DELETE FROM told WHERE kind = :kind AND provider = :provider AND holder = :holder;

-- name: told_forget
-- What machines said about it that are gone: one at work says something.
DELETE FROM told WHERE kind = :kind AND provider = :provider AND until <= :now;

-- name: told_least
-- The least that anybody else at work says of everything; where nobody at work says anything, what was said last and
-- lasts.
SELECT kind, provider, min(most) AS most FROM told AS one
WHERE holder <> :holder AND (until > :now OR lasting = 1 AND NOT EXISTS (
    SELECT 1 FROM told AS other WHERE other.kind = one.kind AND other.provider = one.provider AND other.until > :now
))
GROUP BY kind, provider;

-- name: told_limits
-- The same, of the limits of agents alone.
SELECT provider, min(most) AS most FROM told AS one
WHERE kind = 'limits' AND holder <> :holder AND (until > :now OR lasting = 1 AND NOT EXISTS (
    SELECT 1 FROM told AS other WHERE other.kind = one.kind AND other.provider = one.provider AND other.until > :now
))
GROUP BY provider;

-- name: told_of
-- Whether anybody says something of it, or did until lately: `since` is before now.
SELECT 1 AS said FROM told WHERE kind = :kind AND provider = :provider AND until > :since LIMIT 1;
