-- How far the operator's observability has been told the journal, and which process tells it now. until: when its turn
-- ends unless it says that it lives. shows: whether it has a port from which its figures are read. asked: until when a
-- process that has one wants the turn.
CREATE TABLE telling (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    holder TEXT NOT NULL DEFAULT '',
    until REAL NOT NULL DEFAULT 0,
    shows INTEGER NOT NULL DEFAULT 0,
    asked REAL NOT NULL DEFAULT 0
);
