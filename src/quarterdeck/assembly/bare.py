"""Whether this machine performs runs that were ordered without a sandbox.

Rules
- A deck that lies in its home asks nobody: who orders a run there is who performs it.
- Where many machines work on a deck, ordering a run is having programs run on other people's machines. Each machine's
  own deck.toml says whether it performs what has no sandbox, or has none itself; that counts there, whatever the
  database says.
- A run without one is sent to those that do; where there is none it is not ordered.
"""

from typing import Final

from quarterdeck.delivery.routing import BARE
from quarterdeck.engine.port import Engine
from quarterdeck.kernel.failures import SandboxUnavailable
from quarterdeck.settings import DECK_FILE, Settings, operator_outside
from quarterdeck.workplace.port import Provider
from quarterdeck.workplace.withheld import Withheld

_NONE: Final = "none"


def performs_bare(settings: Settings) -> bool:
    """Whether runs without a sandbox are performed here. Raises BadConfiguration."""
    if settings.database_url is None:
        return True
    file = operator_outside(settings.home)
    return file.workers.without_sandbox or file.sandbox.backend == _NONE


def bare_labels(settings: Settings) -> tuple[str, ...]:
    """The label of a worker that performs them."""
    return (BARE,) if performs_bare(settings) else ()


def offered(settings: Settings, plain: Provider) -> Provider:
    """The provider that isolates nothing, where this machine offers it."""
    return plain if performs_bare(settings) else Withheld(plain, lambda: _refused(settings))


async def elsewhere(engine: Engine, provider: Provider) -> bool:
    """Whether other machines offer what this one withholds. Raises SandboxUnavailable where none at work does."""
    if not isinstance(provider, Withheld):
        return False
    if any(BARE in worker.labels for worker in await engine.workers()):
        return True
    raise SandboxUnavailable(
        "no machine at work on this deck performs runs without a sandbox",
        why="where many machines work on a deck, each one's own deck.toml says whether it does",
        fix=f"[workers] without_sandbox = true in {DECK_FILE} of a worker's home, then start that worker again",
    )


def _refused(settings: Settings) -> SandboxUnavailable:
    return SandboxUnavailable(
        "this machine performs no runs without a sandbox",
        why="many machines work on this deck, and its own file does not say that it does",
        fix=f"[workers] without_sandbox = true in {settings.home / DECK_FILE}, then start the worker again",
    )
