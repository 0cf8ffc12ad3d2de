"""A client of one server: its connections, shared by all who ask.

Rules
- A fleet's worth of connections and no more; calls beyond it wait for one another. An idle one is used again while it
  is fresh and the server has left it open.
- Nothing is retried and nothing is followed. A request goes out once, or not at all.
- Whoever leaves before the answer is whole closes its connection, and goes on when it is closed.
"""

import asyncio
import math
import re
import ssl
from collections.abc import Iterable
from typing import Final

from quarterdeck.models import tls
from quarterdeck.models.http import route
from quarterdeck.models.http.dialing import dial
from quarterdeck.models.http.line import Line
from quarterdeck.models.http.port import Network, NotPickedUp, Unsent

_CONNECTIONS: Final = 10_000
"""As many as one process has agents: each of them holds one while it waits for its answer."""
_IDLE: Final = 100
_FRESH: Final = 4.0
"""Seconds; many servers close what was idle for five."""
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[^\x00\r\n]*")


class HttpClient:
    """The client."""

    def __init__(self, address: str, connect: float, defaults: Iterable[tuple[str, str]], network: Network) -> None:
        """`address`: what all requests are below. `connect`: seconds until a connection must be made. `defaults`:
        headers that every request has, unless it says otherwise. Raises BadConfiguration, ValueError."""
        self._server = route.place(address)
        self._proxy = route.proxy(self._server, network)
        self._network = network
        self._connect = connect
        self._defaults = tuple(defaults)
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._idle: list[Line] = []
        self._trust: ssl.SSLContext | None = None

    @property
    def authorization(self) -> str | None:
        """What the address itself brings; None = nothing."""
        return self._server.authorization

    async def begin(
        self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes, due: float = math.inf
    ) -> Line:
        """Send a request; the line when the head of its answer is there, to be handed to `end`.

        `headers`: names in lower case. `due`: when the head must be there, by the loop's clock. Raises HttpFailed;
        TimeoutError at `due`.
        """
        head = self._head(method, path, headers, body)
        if self._slots.locked():
            async with _by(due):
                await self._slots.acquire()
        else:
            await self._slots.acquire()
        line = None
        try:
            line = self._rested() or await self._dialled(due)
            line.send(head, body)
            await line.answered(due)
        except BaseException:
            if line is None:
                self._slots.release()
            else:
                await self.end(line)
            raise
        return line

    async def end(self, line: Line) -> None:
        """The exchange is over; where its answer was not read to its end, so is the connection."""
        try:
            if line.finished():
                self._rest(line)
            else:
                await line.close()
        finally:
            self._slots.release()

    def _head(self, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
        server, proxy = self._server, self._proxy
        sent = list(headers)
        if server.authorization is not None:
            sent = [pair for pair in sent if pair[0] != "authorization"] + [("authorization", server.authorization)]
        target = route.target(server.base, path)
        if proxy is not None and not server.secure:
            target = f"http://{server.named}{target}"
            if proxy.authorization is not None:
                sent.append(("proxy-authorization", proxy.authorization))
        if body or method == "POST":
            sent.append(("content-length", str(len(body))))
        said = {name for name, _ in sent}
        lines = [f"{method} {target} HTTP/1.1\r\nhost: {server.named}\r\n"]
        for name, value in (*((name, value) for name, value in self._defaults if name not in said), *sent):
            if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
                raise Unsent(f"the header {name!r} cannot be sent")
            lines.append(f"{name}: {value}\r\n")
        try:
            return "".join((*lines, "\r\n")).encode("latin-1")
        except UnicodeEncodeError as error:
            raise Unsent("a header holds a character that cannot be sent") from error

    async def _dialled(self, due: float) -> Line:
        try:
            async with _by(due), asyncio.timeout(self._connect) as connecting:
                return await dial(self._server, self._proxy, self._trusted)
        except TimeoutError as error:
            if connecting.expired():
                raise NotPickedUp("nobody picked up in time") from error
            if error.errno is not None:
                raise Unsent(str(error)) from error
            raise
        except Unsent:
            raise
        except (OSError, ValueError) as error:
            raise Unsent(str(error)) from error

    def _trusted(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = tls.trusted(self._network.cert_file, self._network.cert_folder)
        return self._trust

    # --- connections that rest ------------------------------------------------------------------------------

    def _rested(self) -> Line | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            line = self._idle.pop()
            if now - line.idle_since < _FRESH and line.quiet():
                return line
            line.drop()
        return None

    def _rest(self, line: Line) -> None:
        self._idle.append(line)
        if len(self._idle) > _IDLE:
            self._idle.pop(0).drop()

    async def close(self) -> None:
        """Close the connections that nobody uses. Idempotent."""
        idle, self._idle = self._idle, []
        for line in idle:
            await line.close()


def _by(due: float) -> asyncio.Timeout:
    return asyncio.timeout_at(due if due != math.inf else None)
