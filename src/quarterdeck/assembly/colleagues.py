"""What people are told about the workers of a deck. Pure."""

from quarterdeck.engine.port import Untaken, Worker

_OWN = "host="
"""The label that every worker has anyway."""


def lacking(what: Untaken) -> str:
    """A sentence about work that nobody takes."""
    who = f"with {', '.join(what.needs)}" if what.needs else f"that takes the queue {what.queue}"
    return f"{what.jobs} jobs wait for a worker {who}, and none is alive"


def working(worker: Worker) -> str:
    """A phrase about one that works."""
    given = [label for label in worker.labels if not label.startswith(_OWN)]
    labels = f" ({', '.join(given)})" if given else ""
    return f"{worker.host} {worker.pid}{labels}: {worker.busy} of {worker.capacity}{', ends' if worker.ends else ''}"
