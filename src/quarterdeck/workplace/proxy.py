"""The only way out of a sandbox: an HTTP proxy on a unix socket that lets through the hosts of a list.

Rules
- A host is let through where the list names it (`hosts`).
- Names are resolved here, once, and the connection goes to the address that was checked: never to the machine itself,
  its networks or a cloud's metadata service, unless the list names that address itself or the operator configured that
  host as a package index.
- One connection carries one request. Time, bytes and the number of connections are bounded; how many a sandbox may
  have is decided at the door, before it has said anything.
- Each proxy's socket lies in a folder of its own: a sandbox sees the folder, and reaches no other list.
- Names are resolved on a few threads of their own: a name server that does not answer holds up nobody else.
- Every answer is written down: who was let through, who was refused and why.
"""

import asyncio
import base64
import shutil
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import h11

from quarterdeck.workplace.callers import Callers
from quarterdeck.workplace.ground import share, socket_folder
from quarterdeck.workplace.hosts import Refused, Target, is_address, is_inner, is_listed, normal, parse_target

DEFAULT: Final = "default"
"""In a list of hosts: the package indexes that this machine is configured for."""

_CHUNK: Final = 64 * 1024
_HEAD_LIMIT: Final = 64 * 1024
_RESOLVERS: Final = ThreadPoolExecutor(4, thread_name_prefix="names")
_HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer upgrade host".split()
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one proxy. Seconds and bytes."""

    connections: int = 128
    connect_seconds: float = 20.0
    idle_seconds: float = 300.0
    total_seconds: float = 3600.0
    bytes_each: int = 8 * 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Access:
    """One request that reached the proxy."""

    host: str
    port: int
    refused: str = ""
    """Why; empty = it was let through."""
    unreached: str = ""
    """Why there was no connection to a host that is on the list; empty = there was one."""
    at: float = 0.0
    """When it was answered, by a clock that never goes back, in seconds."""


class _NotAway(ConnectionError):
    """There is no connection, and it is not because the host is away: to try later does not help."""


class Proxy:
    """One list of hosts on one unix socket.

    `allow`: entries as in `is_listed`. `trusted`: hosts that may lie on inner addresses. `upstream`: URL of the proxy
    that this machine itself must use; it then resolves the names.
    """

    def __init__(
        self,
        path: Path,
        allow: Collection[str],
        *,
        trusted: Collection[str] = (),
        upstream: str | None = None,
        bounds: Bounds = Bounds(),
    ) -> None:
        self.path = path
        self.log: deque[Access] = deque(maxlen=1000)
        self._allow = tuple(allow)
        self._trusted = frozenset(normal(host) for host in trusted)
        self._upstream = upstream
        self._bounds = bounds
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._callers = Callers()

    async def start(self) -> None:
        """Listen. The socket can be used by us and by the user that sandboxes run as."""
        self._server = await asyncio.start_unix_server(self._serve, path=self.path, limit=_CHUNK)
        share(self.path, 0o660)

    async def close(self) -> None:
        """Stop listening and end every connection. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    def refusals(self) -> tuple[str, ...]:
        """Hosts that were refused, in the order they were first asked for."""
        return tuple(dict.fromkeys(access.host for access in self.log if access.refused))

    def unreached(self, since: float) -> tuple[str, ...]:
        """Listed hosts that there was no connection to from then on, and never one after that."""
        last = {(access.host, access.port): access for access in self.log if access.at >= since and not access.refused}
        return tuple(dict.fromkeys(access.host for access in last.values() if access.unreached))

    def _note(self, target: Target, *, refused: str = "", unreached: str = "") -> None:
        self.log.append(Access(target.host, target.port, refused, unreached, time.monotonic()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        caller = self._callers.enter(writer.get_extra_info("socket"))
        if caller is None:
            writer.transport.abort()
            return
        self._open.add(task)
        try:
            with closing(writer):
                async with asyncio.timeout(self._bounds.total_seconds):
                    await self._answer(reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError, asyncio.IncompleteReadError):
            # The other side is gone or talks nonsense: the connection ends, nothing else does.
            return
        except asyncio.CancelledError:
            # Only `close` cancels; the task is finished either way.
            return
        finally:
            self._open.discard(task)
            self._callers.leave(caller)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_LIMIT)
        request = await self._event(client, reader)
        if not isinstance(request, h11.Request):
            return
        method = request.method.decode("ascii")
        target = Target(request.target.decode("latin-1")[:200], 0)
        try:
            target = parse_target(method, request.target.decode("latin-1"))
            far_reader, far_writer = await self._connect(target)
        except Refused as refused:
            self._note(target, refused=str(refused))
            await _refuse(writer, client, 403, f"{target.host}: {refused}")
            return
        except (OSError, TimeoutError) as error:
            why = str(error) or "no connection"
            self._note(target, unreached="" if isinstance(error, _NotAway) else why)
            await _refuse(writer, client, 502, f"{target.host}: {why}")
            return
        self._note(target)
        with closing(far_writer):
            if target.path:
                await self._forward(client, request, target, reader, far_writer)
                await self._pump(far_reader, writer)
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                far_writer.write(client.trailing_data[0])
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _event(self, client: h11.Connection, reader: asyncio.StreamReader) -> object:
        while (event := client.next_event()) is h11.NEED_DATA:
            async with asyncio.timeout(self._bounds.idle_seconds):
                client.receive_data(await reader.read(_CHUNK))
        return event

    async def _connect(self, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if len(self._open) > self._bounds.connections:
            # Whose host it is has nothing to do with it: nobody is to be told to put it on the list.
            raise _NotAway(f"more than {self._bounds.connections} connections at once")
        if not is_listed(target.host, target.port, self._allow):
            raise Refused(f"port {target.port} of this host is not on the list")
        async with asyncio.timeout(self._bounds.connect_seconds):
            if self._upstream is not None:
                return await _through(self._upstream, target)
            address = await self._resolve(target)
            return await asyncio.open_connection(address, target.port, limit=_CHUNK)

    async def _resolve(self, target: Target) -> str:
        if is_address(target.host):
            return target.host  # the list names this very address
        answers = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, _addresses, target.host, target.port)
        addresses = [str(answer[4][0]) for answer in answers]
        if target.host in self._trusted:
            return addresses[0]
        for address in addresses:
            if not is_inner(address):
                return address
        raise Refused("its name leads to an address inside")

    async def _forward(
        self,
        client: h11.Connection,
        request: h11.Request,
        target: Target,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        far = h11.Connection(h11.CLIENT)
        host = f"[{target.host}]" if ":" in target.host else target.host
        headers = [(name, value) for name, value in request.headers if name not in _HOP_BY_HOP]
        authority = host if target.port == 80 else f"{host}:{target.port}"
        headers += [(b"host", authority.encode("ascii")), (b"connection", b"close")]
        place = target.path if self._upstream is None else f"http://{authority}{target.path}"
        if self._upstream is not None:
            headers += _credentials(self._upstream)
        writer.write(
            far.send(h11.Request(method=request.method, target=place.encode("latin-1"), headers=headers)) or b""
        )
        while not isinstance(event := await self._event(client, reader), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                return
            writer.write(far.send(event) or b"")
            await writer.drain()
        writer.write(far.send(h11.EndOfMessage()) or b"")
        await writer.drain()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        size = 0
        while True:
            async with asyncio.timeout(self._bounds.idle_seconds):
                data = await source.read(_CHUNK)
            size += len(data)
            if not data or size > self._bounds.bytes_each:
                break
            sink.write(data)
            await sink.drain()
        if data:
            sink.transport.abort()
        elif sink.can_write_eof():
            sink.write_eof()


class Proxies:
    """The proxies of one deck, one for each list of hosts. Must be closed.

    `root`: directory for the sockets. `indexes`: asked once what `default` in a list means: the hosts, those of them
    that may lie on inner addresses, and the upstream proxy.
    """

    def __init__(self, root: Path, indexes: Callable[[], Awaitable["Indexes"]]) -> None:
        self._root = root
        self._ask = indexes
        self._indexes: Indexes | None = None
        self._proxies: dict[tuple[str, ...], Proxy] = {}
        self._folders: list[Path] = []
        self._lock = asyncio.Lock()

    async def proxy(self, hosts: Collection[str]) -> Proxy:
        """The running proxy for these hosts; `default` among them stands for the package indexes."""
        key = tuple(sorted(set(hosts)))
        async with self._lock:
            if key not in self._proxies:
                self._proxies[key] = await self._start(key)
            return self._proxies[key]

    async def socket(self, hosts: Collection[str]) -> Path:
        """The socket of the running proxy for these hosts."""
        return (await self.proxy(hosts)).path

    async def close(self) -> None:
        """End all of them. Idempotent."""
        async with self._lock:
            for proxy in self._proxies.values():
                await proxy.close()
            self._proxies.clear()
            for folder in self._folders:
                shutil.rmtree(folder, ignore_errors=True)
            self._folders.clear()

    async def _start(self, key: tuple[str, ...]) -> Proxy:
        if self._indexes is None:
            self._indexes = await self._ask()
        hosts = [host for host in key if host != DEFAULT]
        trusted = self._indexes.configured if DEFAULT in key else ()
        if DEFAULT in key:
            hosts += self._indexes.hosts
        self._folders.append(socket_folder(self._root))
        proxy = Proxy(self._folders[-1] / "proxy", hosts, trusted=trusted, upstream=self._indexes.upstream)
        await proxy.start()
        return proxy


@dataclass(frozen=True, slots=True)
class Indexes:
    """What this machine's package tools are configured for."""

    hosts: tuple[str, ...]
    """Entries of an allow-list: the indexes and where their files lie."""
    configured: tuple[str, ...] = ()
    """Those that the operator named, rather than the tools' own defaults."""
    upstream: str | None = None
    """URL of the HTTP proxy that this machine must use."""


def _addresses(host: str, port: int) -> list[tuple[Any, ...]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _credentials(upstream: str) -> list[tuple[bytes, bytes]]:
    parts = urlsplit(upstream)
    if parts.username is None:
        return []
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return [(b"proxy-authorization", b"Basic " + base64.b64encode(pair.encode("utf-8")))]


async def _through(upstream: str, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(upstream)
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or 3128, ssl=parts.scheme == "https" or None, limit=_CHUNK
    )
    if target.path:
        return reader, writer
    host = f"[{target.host}]" if ":" in target.host else target.host
    head = f"CONNECT {host}:{target.port} HTTP/1.1\r\nHost: {host}:{target.port}\r\n".encode("ascii")
    extra = b"".join(name + b": " + value + b"\r\n" for name, value in _credentials(upstream))
    writer.write(head + extra + b"\r\n")
    status = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].decode("latin-1")
    code = "".join(status.split(" ")[1:2])
    if code != "200":
        writer.close()
        denied = code.startswith("4")  # it is there, and lets nobody through, or not us
        raise (_NotAway if denied else ConnectionError)(f"the upstream proxy says {status[:100]!r}")
    return reader, writer


async def _refuse(writer: asyncio.StreamWriter, client: h11.Connection, code: int, text: str) -> None:
    body = f"Quarterdeck's proxy: {text}\n".encode("utf-8", "replace")
    headers = [("content-type", "text/plain"), ("content-length", str(len(body))), ("connection", "close")]
    for event in (h11.Response(status_code=code, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
        writer.write(client.send(event) or b"")
    await writer.drain()
