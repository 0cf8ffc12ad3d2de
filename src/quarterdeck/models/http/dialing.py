"""How a connection is made: names to addresses, by a proxy where there is one, TLS where it is spoken.

Rules
- A name with several addresses is tried at all of them, the next one a moment after the last, and the first that
  answers is taken: an address that leads nowhere costs a moment, not the whole deadline (RFC 8305).
- By a proxy, TLS is spoken with the server itself: the proxy sees who is called, and nothing that is said.
- What was begun and is not needed is closed, also when the caller is cancelled.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any, Final

from quarterdeck.models.http.line import Line
from quarterdeck.models.http.port import Unsent
from quarterdeck.models.http.route import Place

_STAGGER: Final = 0.25
"""Seconds that an address has before the next one is tried too (RFC 8305, 5)."""

Trust = Callable[[], ssl.SSLContext]
"""Certificates, loaded when they are asked for."""


async def dial(server: Place, proxy: Place | None, trust: Trust) -> Line:
    """A line to the server. Raises OSError and ValueError, of which Unsent is one."""
    first = server if proxy is None else proxy
    context = await asyncio.to_thread(trust) if server.secure or first.secure else None
    sock = await _connected(first.host, first.port)
    _, line = await asyncio.get_running_loop().create_connection(
        Line,
        sock=sock,
        ssl=context if first.secure else None,
        server_hostname=first.host if first.secure else None,
    )
    if proxy is not None and server.secure:
        assert context is not None  # the server speaks TLS
        try:
            await _tunnelled(line, server, proxy, context)
        except BaseException:
            await line.close()
            raise
    return line


async def _tunnelled(line: Line, server: Place, proxy: Place, context: ssl.SSLContext) -> None:
    """Have the proxy connect the line with the server (RFC 9110, 9.3.6), and encrypt what passes."""
    shown = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    head = f"CONNECT {server.port_named} HTTP/1.1\r\nhost: {server.port_named}\r\n{shown}\r\n"
    line.send(head.encode("latin-1"), b"")
    await line.answered()
    status = line.status
    line.finished()
    if not 200 <= status < 300:
        raise Unsent(f"the proxy {proxy.named} answered HTTP {status}")
    await line.encrypt(context, server.host)


async def _connected(host: str, port: int) -> socket.socket:
    """A connected socket. Raises OSError, ValueError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    if len(found) == 1:
        return await _try(*found[0])
    waiting = _interleaved(found)
    running: set[asyncio.Task[socket.socket]] = set()
    error: BaseException = OSError(f"{host} has no address")
    try:
        while waiting or running:
            if waiting:
                running.add(loop.create_task(_try(*waiting.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=_STAGGER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                failed = task.exception()
                if failed is None:
                    running |= done - {task}
                    return task.result()
                error = failed
        raise error
    finally:
        await _left(running)


def _interleaved(found: list[Any]) -> list[Any]:
    """Addresses of both kinds by turns, in the order of the resolver otherwise."""
    kind = found[0][0] if found else None
    pairs = zip_longest([one for one in found if one[0] == kind], [one for one in found if one[0] != kind])
    return [one for one in chain.from_iterable(pairs) if one is not None]


async def _try(family: int, kind: int, protocol: int, _name: str, address: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _left(tasks: set[asyncio.Task[socket.socket]]) -> None:
    """End tries that are not needed."""
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, socket.socket):
            ended.close()
