-- name: stream_claim
-- Take a stream over: the epoch rises, older claims are refused from now on.
INSERT INTO streams (name, epoch, seq, hash) VALUES (:stream, 1, 0, zeroblob(32))
ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1
RETURNING epoch;

-- name: stream_heads_of
-- Heads of the streams that one commit appends to; `names` is a JSON list.
SELECT s.id, s.name, s.epoch, s.seq, s.hash FROM json_each(:names) AS n JOIN streams AS s ON s.name = n.value;

-- name: stream_heads
-- Heads of all streams, for the anchor and for verification.
SELECT name, seq, hash FROM streams WHERE name >= :prefix AND name < :prefix || char(1114111) ORDER BY name;

-- name: stream_names
-- Streams that start with a prefix.
SELECT name FROM streams WHERE name >= :prefix AND name < :prefix || char(1114111) ORDER BY name;

-- name: stream_advance
-- Move a stream's head after an append.
UPDATE streams SET seq = :seq, hash = :hash WHERE id = :id;

-- name: event_add
-- Append one record.
INSERT INTO events (stream, seq, at, epoch, body, hash) VALUES (:stream, :seq, :at, :epoch, :body, :hash);

-- name: events_of
-- Records of one stream, in order.
SELECT e.seq, e.at, e.epoch, e.body, e.hash FROM events AS e JOIN streams AS s ON s.id = e.stream
WHERE s.name = :stream AND e.seq > :after ORDER BY e.seq LIMIT :limit;

-- name: events_all
-- Records of all streams in the order of their commits, to rebuild the read tables.
SELECT e.id, s.name AS stream, e.at, e.body FROM events AS e JOIN streams AS s ON s.id = e.stream
WHERE e.id > :after ORDER BY e.id LIMIT :limit;

-- name: blob_put
-- Keep a body; a known digest changes nothing.
INSERT INTO blobs (digest, codec, body) VALUES (:digest, :codec, :body) ON CONFLICT (digest) DO NOTHING;

-- name: blob_get
-- One body by its digest.
SELECT codec, body FROM blobs WHERE digest = :digest;

-- name: blobs_all
-- Bodies in the order they came, to verify their digests.
SELECT id, digest, codec, body FROM blobs WHERE id > :after ORDER BY id LIMIT :limit;
