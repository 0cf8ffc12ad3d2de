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

-- name: blobs_count
-- How many bodies there are.
SELECT count(*) AS n FROM blobs;

-- name: purses_all
-- All purses.
SELECT purse, cap, settled, reserved FROM purses ORDER BY purse;

-- name: purse_put
-- A purse that came from elsewhere; where it is known, what is more holds.
INSERT INTO purses (purse, cap, settled, reserved) VALUES (:purse, :cap, :settled, :reserved)
ON CONFLICT (purse) DO UPDATE SET cap = coalesce(max(purses.cap, excluded.cap), purses.cap, excluded.cap),
    settled = max(purses.settled, excluded.settled), reserved = max(purses.reserved, excluded.reserved);

-- name: held_all
-- All that is set aside.
SELECT holder, amount, purses FROM held ORDER BY holder;

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
