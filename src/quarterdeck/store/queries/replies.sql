-- name: reply_find
-- What is known of a request that carried this key.
SELECT request, run, server, at, status, headers, body FROM replies WHERE who = :who AND key = :key

-- name: reply_begin
-- A request with a new key is taken on.
INSERT INTO replies (who, key, request, run, server, at) VALUES (:who, :key, :request, :run, :server, :at)

-- name: reply_take
-- A request that a server which is gone took on is taken on anew; it keeps the id of its run.
UPDATE replies SET server = :server, at = :at WHERE who = :who AND key = :key

-- name: reply_end
-- The answer, for whoever repeats the request; of the server that took it on last.
UPDATE replies SET status = :status, headers = :headers, body = :body
WHERE who = :who AND key = :key AND server = :server

-- name: reply_forget
-- A request that failed by our doing may be made again.
DELETE FROM replies WHERE who = :who AND key = :key AND server = :server

-- name: replies_expire
-- Answers that nobody will ask for again.
DELETE FROM replies WHERE at < :before
