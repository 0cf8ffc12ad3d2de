-- How far anchors reach (`until`: a record's id), when the newest was made, and how many streams there were then.
CREATE TABLE anchored (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    until INTEGER NOT NULL,
    at REAL NOT NULL,
    streams INTEGER NOT NULL
);
