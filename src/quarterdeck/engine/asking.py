"""What every engine asks of its queue alike: the statements have the same names in each database."""

import json
from collections.abc import Callable
from typing import Any

from quarterdeck.engine.port import Job
from quarterdeck.store.port import Row, Store, Tx


def job_of(row: Row) -> Job:
    """The job of a row of the queue."""
    return Job(
        kind=row["kind"],
        key=row["key"],
        lock=row["lock"],
        run=row["run"],
        payload=json.loads(row["payload"]),
        priority=row["priority"],
    )


async def unfinished(store: Store, run: str) -> int:
    """See the port."""
    rows = await store.read("jobs_unfinished", run=run)
    return int(rows[0]["n"])


async def failed(store: Store) -> list[tuple[Job, str]]:
    """See the port."""
    return [(job_of(row), row["trace"]) for row in await store.read("jobs_failed")]


def write_of(statement: str, /, **values: Any) -> Callable[[Tx], list[Row]]:
    """A write that runs that one statement."""
    return lambda tx: tx.run(statement, **values)
