"""The model gateway of a deck, with its endpoint.

Rules
- Making it starts nothing: the endpoint is served when the first key is granted, or when somebody listens.
- Reached in one process by the native loop's parts and over the endpoint by everybody else, it has one set of limiters,
  one set of connections and one set of purses.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from quarterdeck.doors.model_calls import ModelCalls
from quarterdeck.doors.serve import App, Doors, Endpoint
from quarterdeck.gateway.calls import Calls
from quarterdeck.gateway.gateway import ModelGateway
from quarterdeck.gateway.record import Book
from quarterdeck.govern.port import Treasury
from quarterdeck.journal.port import Journal
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import RunConfig
from quarterdeck.models.factory import Models


def make_gateway(
    journal: Journal,
    treasury: Treasury,
    clock: Clock,
    models: Callable[[RunConfig], Models],
    sockets: Path,
    mounts: Mapping[str, App],
) -> tuple[ModelGateway, Endpoint]:
    """The gateway and its endpoint. `models`: as a configuration has them; `sockets`: where sandboxes reach sockets;
    `mounts`: other doors on the same endpoint, by the beginning of their paths."""
    book = Book(journal, treasury, clock)
    calls = Calls(book, lambda key: models(key.grant.config), clock)

    async def open_door() -> Path:
        return await endpoint.open()

    gateway = ModelGateway(book, calls, open_door)
    endpoint = Endpoint(Doors(ModelCalls(gateway), mounts), sockets)
    return gateway, endpoint
