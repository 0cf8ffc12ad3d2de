"""The server's protocol with a bound on how long a request's head may take: a client that opens a connection and says
nothing, or says it letter by letter, is let go."""

import asyncio
from typing import Any, Final

from quarterdeck.doors.gathering import GatheringProtocol

HEAD_SECONDS: Final = 20.0
HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a request's line and headers."""


class PatientProtocol(GatheringProtocol):
    """As uvicorn's, but not for ever."""

    _waiting: asyncio.TimerHandle | None = None
    _heard = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self._waiting is not None:
            self._heard += len(data)
        super().data_received(data)
        if self._waiting is not None and self._heard > HEAD_LIMIT:  # its end has not come with that
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._waiting is None:  # a further request of a connection that was kept
            self._wait()

    def on_headers_complete(self) -> None:
        self._heard_it()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard_it()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._heard = 0
        self._waiting = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _heard_it(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
