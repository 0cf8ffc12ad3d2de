"""Parts that are loaded when they are needed: no run without a server pays for the server, none on SQLite for the
engine of many workers."""

import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Protocol, cast

from quarterdeck.doors.serve import App, Serving
from quarterdeck.engine.port import Engine
from quarterdeck.engine.seats import Pace, Seat
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import MissingPart
from quarterdeck.store.port import Laid, Store

if TYPE_CHECKING:
    from quarterdeck.assembly.parts import Parts
    from quarterdeck.doors.api.port import Served

MODULE: Final = "quarterdeck.assembly.serving"
WORKERS: Final = "quarterdeck.engine.procrastinate"


class Server(Protocol):
    """`quarterdeck.assembly.serving.serving`."""

    def __call__(
        self,
        deck: "Served",
        parts: "Parts",
        host: str,
        port: int,
        names: Sequence[str],
        more: Mapping[str, App],
    ) -> AbstractAsyncContextManager[Serving]: ...


def server() -> Server:
    """What serves a deck."""
    return cast(Server, importlib.import_module(MODULE).serving)


class ManyWorkers(Protocol):
    """`quarterdeck.engine.procrastinate`."""

    def ProcrastinateEngine(self, store: Store, url: str, seat: Seat, clock: Clock, pace: Pace, /) -> Engine: ...

    async def prepare(self, store: Store, /) -> tuple[Laid, ...]:
        """Bring the engine's part of the database up to date; what was laid."""
        ...


def many_workers() -> ManyWorkers:
    """The engine of many workers. Raises MissingPart."""
    try:
        return cast(ManyWorkers, importlib.import_module(WORKERS))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("quarterdeck"):
            raise
        raise MissingPart(
            "What a deck on PostgreSQL needs is not installed",
            why=f"there is no {error.name}",
            fix="pip install 'quarterdeck[postgres]'",
        ) from error
