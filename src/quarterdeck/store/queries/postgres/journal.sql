-- name: database_faults
-- What PostgreSQL itself knows to be wrong with the database: indexes that are not valid, pages whose checksum is wrong.
SELECT 'the index ' || c.relname || ' is not valid' AS fault
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE NOT i.indisvalid
UNION ALL
SELECT d.checksum_failures || ' pages have a wrong checksum' FROM pg_stat_database AS d
WHERE d.datname = current_database() AND d.checksum_failures > 0;
