-- Which repository a run works on, however its URL is spelled. Of runs from before, the two usual spellings are brought
-- into that form; the others keep theirs.
ALTER TABLE runs ADD COLUMN identity TEXT NOT NULL DEFAULT '';

UPDATE runs SET identity = CASE
    WHEN repository LIKE 'git@%:%' AND repository NOT LIKE '%://%'
    THEN 'https://' || lower(substr(repository, 5, instr(repository, ':') - 5)) || '/'
        || trim(substr(repository, instr(repository, ':') + 1), '/')
    WHEN repository LIKE '/%' THEN repository
    ELSE rtrim(repository, '/')
END;

UPDATE runs SET identity = substr(identity, 1, length(identity) - 4)
WHERE identity LIKE '%.git' AND repository NOT LIKE '/%';
