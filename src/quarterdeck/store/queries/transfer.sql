-- name: streams_all
-- Streams as they stand, to take them elsewhere.
SELECT name, epoch, seq, hash, at, steps FROM streams ORDER BY name;

-- name: stream_ends
-- Where streams end, to go on there.
SELECT name, seq, hash, last FROM streams;

-- name: stream_put
-- A stream that came from elsewhere stands here now. Its claims there are worth nothing here.
INSERT INTO streams (name, epoch, seq, hash, last, at, steps) VALUES (:name, :epoch, :seq, :hash, :last, :at, :steps)
ON CONFLICT (name) DO UPDATE SET epoch = max(streams.epoch, excluded.epoch), seq = excluded.seq, hash = excluded.hash,
    last = excluded.last, at = excluded.at, steps = excluded.steps
RETURNING id;

-- name: blob_last
-- The newest body's id.
SELECT coalesce(max(id), 0) AS last FROM blobs;

-- name: blobs_count
-- How many bodies there are.
SELECT count(*) AS n FROM blobs;

-- name: purses_all
-- All purses.
SELECT purse, cap, settled FROM purses ORDER BY purse;

-- name: purse_put
-- A purse that came from elsewhere; where it is known, what is more holds.
INSERT INTO purses (purse, cap, settled) VALUES (:purse, :cap, :settled)
ON CONFLICT (purse) DO UPDATE SET cap = coalesce(max(purses.cap, excluded.cap), purses.cap, excluded.cap),
    settled = max(purses.settled, excluded.settled);

-- name: purses_clear
-- Nothing is set aside in any purse.
UPDATE purses SET reserved = 0 WHERE reserved <> 0;

-- name: purses_sum
-- Purses have set aside what is held in them; the others were cleared.
UPDATE purses SET reserved = (
    SELECT sum(h.amount) FROM held AS h CROSS JOIN json_each(h.purses) AS p WHERE p.value = purses.purse)
WHERE purse IN (SELECT p.value FROM held AS h CROSS JOIN json_each(h.purses) AS p);

-- name: held_all
-- All that is set aside.
SELECT holder, amount, purses FROM held ORDER BY holder;

-- name: held_drop
-- What was set aside for one holder was settled or given back elsewhere.
DELETE FROM held WHERE holder = :holder;

-- name: starts_all
-- All starts and moments that are kept.
SELECT kind, name, who, run, at FROM starts ORDER BY kind, name;

-- name: replies_all
-- All answers to requests that may be repeated; not those under way.
SELECT who, key, request, run, server, at, status, headers, body FROM replies WHERE status IS NOT NULL ORDER BY who, key;

-- name: reply_put
-- An answer that came from elsewhere.
INSERT INTO replies (who, key, request, run, server, at, status, headers, body)
VALUES (:who, :key, :request, :run, :server, :at, :status, :headers, :body) ON CONFLICT (who, key) DO NOTHING;
