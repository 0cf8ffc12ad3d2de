"""A job and a worker as the database has them, and what is kept of a job that failed. Pure.

Rules
- A trace may hold what no text may: the bytes of file names that are no UTF-8. It is kept with those written out.
"""

import json
import traceback
from typing import Any, Final

from quarterdeck.engine.port import MAX_TRACE, Job, Worker
from quarterdeck.store.port import Row

IDLE_SECONDS: Final = 60.0
"""Seconds after which an engine looks at its queue even if nothing was committed."""
THROTTLE: Final = 0.05
"""Between two looks that nobody of this process asked for, seconds."""


def job_of(row: Row) -> Job:
    """The job of a row."""
    return Job(
        kind=row["kind"],
        key=row["key"],
        lock=row["lock"],
        run=row["run"],
        payload=json.loads(row["payload"]),
        priority=row["priority"],
    )


def worker_of(row: Row) -> Worker:
    """The worker of a row."""
    labels = tuple(row["labels"].split())
    return Worker(row["host"], row["pid"], labels, row["busy"], row["capacity"], bool(row["draining"]))


def columns_of(job: Job) -> dict[str, Any]:
    """What every statement that defers a job is given."""
    return {
        "kind": job.kind,
        "key": job.key,
        "lock": job.lock,
        "run": job.run,
        "payload": json.dumps(dict(job.payload)),
        "priority": job.priority,
        "delay": max(job.delay, 0.0),
    }


def trace_of(error: BaseException) -> str:
    """What is kept of the exception with which a job ended."""
    text = "".join(traceback.format_exception(error))
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[-MAX_TRACE:]
