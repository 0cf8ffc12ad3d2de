"""The port to tool servers: a way to one (`Pipe`, or an address), and an open connection (`Link`).

Rules
- A link is opened once, and closed once. One that has ended stays ended: whoever wants to go on opens another.
- What a server does wrong is `ToolServerFailed`, or a `ServerGone` where it went away under a call; nothing that it
  sends can raise anything else.
- A message is bounded, and so is what a server may send without being asked.
- Requests of a server (sampling, roots, elicitation) are refused: it answers, it does not ask.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

from quarterdeck.kernel.failures import ToolServerFailed
from quarterdeck.tools.shed.answers import Answer
from quarterdeck.tools.shed.catalogue import Offered

MAX_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of one message of a server."""

MAX_UNASKED: Final = (2_000, 128 * 1024 * 1024)
"""Messages and bytes that a server may send between two requests of ours."""


class ServerGone(ToolServerFailed):
    """The tool server ended during the call."""


class Pipe(Protocol):
    """A process that is spoken to over its standard streams: a session of a sandbox."""

    async def write(self, data: bytes) -> None: ...

    async def read(self) -> bytes:
        """What has come; empty = nothing more will."""
        ...

    def stderr_tail(self) -> bytes: ...

    async def close_stdin(self) -> None: ...

    async def wait(self) -> int | None: ...

    async def kill(self) -> None: ...


class Link(Protocol):
    """An open connection."""

    @property
    def revision(self) -> str:
        """Revision of the protocol that both speak."""
        ...

    @property
    def changed(self) -> asyncio.Event:
        """Set when the server said that its tools are others now; cleared by whoever lists them again."""
        ...

    @property
    def ended(self) -> asyncio.Event:
        """Set when the other side is gone."""
        ...

    async def tools(self) -> tuple[Offered, ...]:
        """What it offers now. Raises ToolServerFailed."""
        ...

    async def call(self, tool: str, arguments: Mapping[str, Any], timeout: float) -> Answer:
        """Call a tool, within `timeout` seconds. Raises TimeoutError, ServerGone, ToolServerFailed."""
        ...

    async def close(self) -> None:
        """Idempotent. What is under way is cut."""
        ...


class Linker(Protocol):
    """Opens links; the one module that knows the protocol's SDK, loaded when it is needed."""

    async def over_pipe(self, pipe: Pipe, *, timeout: float) -> Link:
        """A link to a process. Raises ToolServerFailed where it does not answer in time, or not sensibly."""
        ...

    async def to_address(self, url: str, headers: Mapping[str, str], *, timeout: float) -> Link:
        """A link to an address. Raises ToolServerFailed."""
        ...
