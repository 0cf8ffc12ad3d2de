-- Every record of the journal in the order of the commits, with the moment of its commit by the server's own clock. Asked
-- of a server that keeps these moments (`track_commit_timestamp`).
SELECT s.name AS stream, e.seq AS seq, e.xmin::text::bigint AS transaction,
    extract(epoch FROM pg_xact_commit_timestamp(e.xmin))::double precision AS at
FROM events AS e JOIN streams AS s ON s.id = e.stream ORDER BY e.id
