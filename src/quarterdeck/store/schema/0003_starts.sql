-- Who was started when, and which moments are kept for those that wait: what limits how fast agents start. It outlives
-- the process. kind: agent, run; who: the person or trigger that a run is counted for, else empty.
CREATE TABLE starts (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    who TEXT NOT NULL,
    run TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE INDEX starts_by_time ON starts (kind, who, at);
CREATE INDEX starts_by_run ON starts (run);

-- Tasks at which an agent or a check works now: few, however long the history.
CREATE INDEX tasks_at_work ON tasks (run) WHERE status IN ('implementing', 'checking', 'reviewing');
CREATE INDEX runs_planning ON runs (run) WHERE status = 'planning';
