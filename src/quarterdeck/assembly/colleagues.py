"""What people are told about the workers of a deck. Pure."""

from quarterdeck.delivery.routing import BARE
from quarterdeck.engine.port import Untaken, Worker
from quarterdeck.triggers.port import GITHUB, NOTICES

_OWN = "host="
"""The label that every worker has anyway."""


def lacking(what: Untaken) -> str:
    """A sentence about work that nobody takes."""
    if what.wants:
        having = " and ".join(filter(None, (_wanted(what.wants), ", ".join(what.needs))))
        return f"{what.jobs} jobs wait for a server or worker with {having}, and none is alive"
    who = f"with {', '.join(what.needs)}" if what.needs else f"that takes the queue {what.queue}"
    return f"{what.jobs} jobs wait for a worker {who}, and none is alive"


def _wanted(wants: str) -> str:
    """What such a process has, in the words of deck.toml."""
    if wants == NOTICES:
        return "[notify] and its secret"
    if wants == GITHUB:
        return "the token that [github] names"
    return f"[{wants.replace('trigger/', 'triggers.', 1)}] in its deck.toml"


def remedy(what: Untaken) -> str:
    """What to do about it."""
    if what.wants:
        return "quarterdeck worker, or quarterdeck up, with a home whose deck.toml and environment have it"
    if BARE in what.needs:
        return "[workers] without_sandbox = true in deck.toml of a worker's home, then start that worker again"
    return "quarterdeck worker --labels …   (on a machine that has them)"


def working(worker: Worker) -> str:
    """A phrase about one that works."""
    given = [label for label in worker.labels if not label.startswith(_OWN)]
    labels = f" ({', '.join(given)})" if given else ""
    return f"{worker.host} {worker.pid}{labels}: {worker.busy} of {worker.capacity}{', ends' if worker.ends else ''}"
