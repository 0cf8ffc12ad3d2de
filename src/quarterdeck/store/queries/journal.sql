-- name: stream_claim
-- Take a stream over: the epoch rises, older claims are refused from now on.
INSERT INTO streams (name, epoch, seq, hash) VALUES (:stream, 1, 0, zeroblob(32))
ON CONFLICT (name) DO UPDATE SET epoch = streams.epoch + 1
RETURNING epoch;

-- name: stream_heads_of
-- Heads of streams that are appended to; `names` is a JSON list.
SELECT s.id, s.name, s.epoch, s.seq, s.hash, s.last FROM json_each(:names) AS n JOIN streams AS s ON s.name = n.value;

-- name: stream_heads
-- Heads of all streams, for the anchor and for verification.
SELECT name, seq, hash FROM streams WHERE name >= :prefix AND name < :prefix || char(1114111) ORDER BY name;

-- name: heads_moved
-- Heads of streams that no anchor names as they are, in the order in which they moved; not the deck's own.
SELECT name, seq, hash, last FROM streams
WHERE last > (SELECT coalesce(max(until), 0) FROM anchored) AND name <> :deck ORDER BY last LIMIT :limit;

-- name: heads_count
-- How many streams have records, or had; not the deck's own.
SELECT count(*) AS n FROM streams WHERE seq > 0 AND name <> :deck;

-- name: anchored
-- How far anchors reach: streams whose newest record is not beyond `until`. When that was, and how many streams there
-- were.
SELECT until, at, streams FROM anchored;

-- name: anchored_set
-- Anchors reach so far now.
INSERT INTO anchored (one, until, at, streams) VALUES (1, :until, :at, :streams)
ON CONFLICT (one) DO UPDATE SET until = max(anchored.until, excluded.until), at = excluded.at,
    streams = excluded.streams;

-- name: stream_lengths
-- Streams that start with a prefix, with how many records each has.
SELECT name, seq FROM streams WHERE name >= :prefix AND name < :prefix || char(1114111) ORDER BY name;

-- name: stream_names
-- Streams that start with a prefix.
SELECT name FROM streams WHERE name >= :prefix AND name < :prefix || char(1114111) ORDER BY name;

-- name: stream_advance
-- Move a stream's head after an append. Where it is not where the caller thinks, or has a newer claim, this fails (seq
-- is never null): the fence holds although heads are cached. Parameters: id, seq before, epoch, seq, hash, last, at,
-- step.
UPDATE streams SET seq = CASE WHEN seq = ?2 AND epoch = ?3 THEN CAST(?4 AS BIGINT) END, hash = ?5, last = ?6, at = ?7,
    steps = max(steps, ?8)
WHERE id = ?1;

-- name: event_last
-- The newest record's id.
SELECT coalesce(max(id), 0) AS last FROM events;

-- name: event_add
-- Append one record; parameters in the order of the columns.
INSERT INTO events (id, stream, seq, prev, at, epoch, hash, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8);

-- name: events_of
-- Records of one stream after `after`, in order: the chain is walked back from its head.
WITH RECURSIVE line (id, prev, seq) AS (
    SELECT e.id, e.prev, e.seq FROM streams AS s JOIN events AS e ON e.id = s.last
    WHERE s.name = :stream AND e.seq > :after
    UNION ALL
    SELECT e.id, e.prev, e.seq FROM line JOIN events AS e ON e.id = line.prev WHERE line.seq > :after + 1
)
SELECT e.seq, e.at, e.epoch, e.body, e.hash
FROM (SELECT id FROM line ORDER BY seq LIMIT :limit) AS page JOIN events AS e ON e.id = page.id ORDER BY e.seq;

-- name: chain_of
-- The same with what a chain is computed from. A chain that was bent into a ring ends where it meets itself.
WITH RECURSIVE line (id, prev, seq) AS (
    SELECT e.id, e.prev, e.seq FROM streams AS s JOIN events AS e ON e.id = s.last
    WHERE s.name = :stream AND e.seq > :after
    UNION
    SELECT e.id, e.prev, e.seq FROM line JOIN events AS e ON e.id = line.prev WHERE line.seq > :after + 1
)
SELECT e.id, e.prev, e.seq, e.at, e.epoch, e.body, e.hash
FROM (SELECT id FROM line ORDER BY seq LIMIT :limit) AS page JOIN events AS e ON e.id = page.id ORDER BY e.seq;

-- name: events_until
-- Records of one stream up to a place in the order of commits: what a reader missed who begins there.
WITH RECURSIVE line (id, prev) AS (
    SELECT e.id, e.prev FROM streams AS s JOIN events AS e ON e.id = s.last WHERE s.name = :stream
    UNION ALL
    SELECT e.id, e.prev FROM line JOIN events AS e ON e.id = line.prev
)
SELECT e.id, :stream AS stream, e.seq, e.at, e.epoch, e.body, e.hash
FROM line JOIN events AS e ON e.id = line.id WHERE e.id <= :until ORDER BY e.id;

-- name: event_newest
-- The newest record of one stream.
SELECT e.seq, e.at, e.epoch, e.body, e.hash FROM streams AS s JOIN events AS e ON e.id = s.last WHERE s.name = :stream;

-- name: events_all
-- Records of all streams in the order of their commits: to verify the chains, and to rebuild the read tables.
SELECT e.id, s.name AS stream, e.seq, e.prev, e.at, e.epoch, e.hash, e.body
FROM events AS e JOIN streams AS s ON s.id = e.stream
WHERE e.id > :after AND s.name >= :prefix AND s.name < :prefix || char(1114111) ORDER BY e.id LIMIT :limit;

-- name: blob_put
-- Keep a body; a known digest changes nothing. Parameters: digest, codec, body.
INSERT INTO blobs (digest, codec, body) VALUES (?1, ?2, ?3) ON CONFLICT (digest) DO NOTHING;

-- name: blob_get
-- One body by its digest.
SELECT codec, body FROM blobs WHERE digest = :digest;

-- name: blobs_all
-- Bodies in the order they came, to verify their digests.
SELECT id, digest, codec, body FROM blobs WHERE id > :after ORDER BY id LIMIT :limit;

-- name: database_faults
-- What SQLite itself finds wrong with the file, tables and indexes, at most 50 lines; the one line `ok` = nothing.
PRAGMA integrity_check(50);
