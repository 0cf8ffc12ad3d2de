-- name: purse_open
-- Set or raise a purse's own cap. Opening again with less changes nothing, so a repeated command is harmless.
INSERT INTO purses (purse, cap) VALUES (:purse, :cap)
ON CONFLICT (purse) DO UPDATE SET cap = max(coalesce(purses.cap, 0), excluded.cap);

-- name: purses_of
-- The purses of a chain in its order (a new one is null), and what the holder has reserved by now and in which purses.
SELECT chain.value AS purse, p.cap, p.settled, p.reserved, h.amount, h.purses FROM json_each(:purses) AS chain
LEFT JOIN purses AS p ON p.purse = chain.value LEFT JOIN held AS h ON h.holder = :holder ORDER BY chain.key;

-- name: purses_reserve
-- Set the amount aside in all purses of a chain.
INSERT INTO purses (purse, reserved) SELECT value, :amount FROM json_each(:purses) WHERE true
ON CONFLICT (purse) DO UPDATE SET reserved = purses.reserved + excluded.reserved;

-- name: held_set
-- What is set aside for one holder, and where.
INSERT INTO held (holder, amount, purses) VALUES (:holder, :amount, :purses)
ON CONFLICT (holder) DO UPDATE SET amount = excluded.amount, purses = excluded.purses;

-- name: held_take
-- Take one holder's reservation away; what it was.
DELETE FROM held WHERE holder = :holder RETURNING amount, purses;

-- name: held_take_all
-- Take all reservations away whose holder lies between two names; what they were.
DELETE FROM held WHERE holder >= :first AND holder < :last RETURNING amount, purses;

-- name: purses_settle
-- Replace what was reserved in these purses by what was spent.
UPDATE purses SET settled = settled + :cost, reserved = reserved - :amount
WHERE purse IN (SELECT value FROM json_each(:purses));
