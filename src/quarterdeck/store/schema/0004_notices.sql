-- Spending that left its own baseline: a read table. `name`: the run, the agent, the day.
CREATE TABLE notices (
    run TEXT NOT NULL,
    about TEXT NOT NULL,
    name TEXT NOT NULL,
    at REAL NOT NULL,
    spent INTEGER NOT NULL,
    usual INTEGER NOT NULL,
    bound INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    PRIMARY KEY (about, name, run)
) WITHOUT ROWID;
CREATE INDEX notices_of_run ON notices (run);
CREATE INDEX attempts_by_agent ON attempts (agent, started_at);
