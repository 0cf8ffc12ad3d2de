-- How far the operator's observability has been told the journal, and which process tells it now. until: when its turn
-- ends unless it says that it lives. shows: whether it has a port from which its figures are read. asked: until when a
-- process that has one wants the turn.
CREATE TABLE telling (
    name TEXT COLLATE "C" PRIMARY KEY,
    position BIGINT NOT NULL,
    holder TEXT COLLATE "C" NOT NULL DEFAULT '',
    until DOUBLE PRECISION NOT NULL DEFAULT 0,
    shows BIGINT NOT NULL DEFAULT 0,
    asked DOUBLE PRECISION NOT NULL DEFAULT 0
);
