-- name: telling_mark
-- Nothing was told yet: what happens from there on will be.
INSERT INTO telling (name, position) VALUES (:name, :position) ON CONFLICT (name) DO NOTHING;

-- name: telling_get
-- How far the journal has been told, and whose turn it is.
SELECT position, holder, until, shows, asked FROM telling WHERE name = :name;

-- name: telling_take
-- It is this process's turn now, if it is nobody's, or one's that is gone; how far was told.
UPDATE telling SET holder = :holder, until = :until, shows = :shows, asked = 0
WHERE name = :name AND (until <= :now OR holder = :gone) AND (:shows = 1 OR asked <= :now) RETURNING position;

-- name: telling_ask
-- A process with a port wants the turn of one that has none.
UPDATE telling SET asked = :until WHERE name = :name AND shows = 0;

-- name: telling_keep
-- Whose turn it is lives, and has told so far; whether it is still its turn, and until when somebody else wants it.
UPDATE telling SET until = :until, position = :position WHERE name = :name AND holder = :holder
RETURNING shows, asked;

-- name: telling_give
-- Its turn is over.
UPDATE telling SET holder = '', until = 0, position = :position WHERE name = :name AND holder = :holder;
