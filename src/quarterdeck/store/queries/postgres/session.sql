-- name: session_schema
-- Whether the database has a schema of ours.
SELECT to_regclass('schema_version') IS NOT NULL AS there;

-- name: session_deck
-- Which version the schema has, and which deck the database holds.
SELECT version, deck FROM schema_version;

-- name: session_migrated
-- The schema has this version now.
UPDATE schema_version SET version = :version;

-- name: session_link
-- Whether what goes to the server is encrypted, and whether it stays on this machine.
SELECT ssl, coalesce(inet_server_addr() = inet_client_addr(), true) AS here
FROM pg_stat_ssl WHERE pid = pg_backend_pid();

-- name: session_begun
-- One writer of a deck at a time, from here to the end of the transaction.
SELECT 1 AS begun FROM pg_advisory_xact_lock(:key);

-- name: session_use
-- Use the database with others, if nobody has it alone, for as long as the session lasts.
SELECT pg_try_advisory_lock_shared(:key) AS given;

-- name: session_alone
-- Have it alone, if nobody else uses it.
SELECT pg_try_advisory_lock(:key) AS given;

-- name: session_share
-- Have it with others again.
SELECT pg_advisory_unlock(:key) AS given;

-- name: session_sole
-- How often somebody had it alone.
SELECT sole FROM schema_version;

-- name: session_sole_again
-- Somebody has it alone once more.
UPDATE schema_version SET sole = sole + 1 RETURNING sole;

-- name: session_turn
-- Which turn of a writer this is: kept with what the turn has done, to be asked for where the answer to its end was lost.
INSERT INTO turns (writer, number, at) VALUES (:writer, :number, extract(epoch FROM now()))
ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at;

-- name: session_turned
-- The last turn of a writer that was committed.
SELECT number FROM turns WHERE writer = :writer;

-- name: session_forget
-- Writers that nobody asks for any more: nothing was heard of them for a day.
DELETE FROM turns WHERE at < extract(epoch FROM now()) - 86400;

-- name: session_laid
-- Which steps of a foundation the database has.
SELECT step FROM foundations WHERE name = :name;

-- name: session_lay
-- The database has this step of a foundation now.
INSERT INTO foundations (name, step) VALUES (:name, :step);
