"""An answer's head goes out with the first of its body: to write wakes whoever waits for it, and for a head alone that
costs more than all that was done for it.

Rules
- A head waits for what comes within the same turn of the event loop, and no longer. Nothing else waits.
- The parts of an answer can be written at once, without a coroutine for each, and whoever makes it can be told that its
  client went away, without waiting for that: the extension `AT_ONCE` of a request.
- Where callers are counted, a connection too many of one of them ends at once.
"""

import asyncio
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from quarterdeck.doors.model_calls import AT_ONCE
from quarterdeck.workplace.callers import Callers


class Gathered:
    """A transport that keeps the first write of an answer for a moment. Everything else of it is as it was."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._first = True
        self._kept = b""

    def begin(self) -> None:
        """What is written next begins an answer."""
        self._first = True

    def write(self, data: bytes) -> None:
        if self._first:
            self._first = False
            self._kept += data
            self._loop.call_soon(self._flush)
        elif self._kept:
            self._kept += data
            self._flush()
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Once everything was said."""
        self._flush()
        self._transport.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection over to somebody who writes on it directly."""
        self._flush()
        self._transport.set_protocol(protocol)

    def _flush(self) -> None:
        if self._kept:
            kept, self._kept = self._kept, b""
            self._transport.write(kept)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class GatheringProtocol(HttpToolsProtocol):
    """uvicorn's protocol, over such a transport."""

    def __init__(self, *arguments: Any, callers: Callers | None = None, **more: Any) -> None:
        """`callers`: who has how many connections here; None = nobody counts."""
        super().__init__(*arguments, **more)
        self._callers = callers
        self._caller: str | None = None
        self.when_gone: Callable[[], None] | None = None
        """To be called when the client goes away."""

    def connection_made(self, transport: Any) -> None:
        if self._callers is not None:
            self._caller = self._callers.enter(transport.get_extra_info("socket"))
            if self._caller is None:
                transport.abort()
                return
        self._gathered = Gathered(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._gathered))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._callers is not None:
            if self._caller is None:
                return
            self._callers.leave(self._caller)
        super().connection_lost(exc)
        if self.when_gone is not None:
            self.when_gone()

    def on_message_begin(self) -> None:
        self._gathered.begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle is not None:
            # An answer holds its request: what that holds in turn must not keep it until somebody looks for garbage.
            write, gone = partial(_write, weakref.ref(self.cycle)), partial(_when_gone, weakref.ref(self))
            self.scope["extensions"] = {AT_ONCE: {"write": write, "gone": gone}}


def _write(held: weakref.ref[RequestResponseCycle], part: bytes) -> bool:
    answer = held()
    if answer is None or answer.disconnected:
        return False
    assert answer.chunked_encoding  # whoever says how long the body is has no such way
    answer.transport.write(b"%x\r\n%b\r\n" % (len(part), part))
    return not answer.flow.write_paused


def _when_gone(held: weakref.ref[GatheringProtocol], tell: Callable[[], None]) -> Callable[[], None] | None:
    connection = held()
    if connection is None or connection.cycle.disconnected:
        return None
    connection.when_gone = tell
    connection.flow.resume_reading()  # a client that leaves is seen by reading only

    def forget() -> None:
        if connection.when_gone is tell:  # and not whoever makes the next answer already
            connection.when_gone = None

    return forget
