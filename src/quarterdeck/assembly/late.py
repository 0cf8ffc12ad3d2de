"""The server's parts, loaded when one starts: no run without a server pays for them."""

import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Protocol, cast

from quarterdeck.assembly.parts import Parts
from quarterdeck.doors.serve import App, Serving

if TYPE_CHECKING:
    from quarterdeck.doors.api.port import Served

MODULE: Final = "quarterdeck.assembly.serving"


class Server(Protocol):
    """`quarterdeck.assembly.serving.serving`."""

    def __call__(
        self,
        deck: "Served",
        parts: Parts,
        host: str,
        port: int,
        names: Sequence[str],
        more: Mapping[str, App],
    ) -> AbstractAsyncContextManager[Serving]: ...


def server() -> Server:
    """What serves a deck."""
    return cast(Server, importlib.import_module(MODULE).serving)
