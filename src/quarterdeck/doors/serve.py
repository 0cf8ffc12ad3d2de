"""The HTTP server of the doors: one unix socket for sandboxes, and ports for people who ask for them.

Rules
- Served inside the process that owns the deck, in its event loop. Signals are the command line's business.
- The socket can be used by us and by the user that sandboxes run as, by nobody else. Each sandbox has a bounded number
  of connections to it.
- The server's library is loaded when something is served for the first time.
"""

import asyncio
import contextlib
import errno
import importlib
import logging
import os
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from quarterdeck.doors.model_calls import Receive, Scope, Send
from quarterdeck.kernel.failures import BadConfiguration, SandboxFailed
from quarterdeck.workplace.callers import Callers
from quarterdeck.workplace.ground import share, socket_folder

_log = logging.getLogger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]

SOCKET: Final = "api.sock"
"""Below a home: where its server is reached without a port."""
OTHER_PORT: Final = "--port 0"
_OTHER_HOST: Final = "--host 127.0.0.1"
_BACKLOG: Final = 1024
_MOST: Final = 2048
"""Connections at the same time on a port for people; beyond it they are told to come later."""
_ADDRESS_LIMIT: Final = 100
_LAST_SECONDS: Final = 2
"""Given to answers under way when the server ends."""


@dataclass(frozen=True, slots=True)
class Serving:
    """Where a server can be reached."""

    url: str
    socket: Path
    """The unix socket that the command line uses; where several servers serve one home, it is the first one's."""
    network: bool
    """Other machines can reach it; they need a token."""
    tokens: bool
    """A token is needed on the port."""


class Doors:
    """One application made of several, by the beginning of the path; the rest goes to `otherwise`."""

    def __init__(self, otherwise: App, mounts: Mapping[str, App] | None = None) -> None:
        self._otherwise = otherwise
        self._mounts = dict(mounts or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"nothing here speaks {scope['type']}")
        try:
            await self._of(scope["path"])(scope, receive, send)
        except Exception:
            _log.exception("a door failed at %s %s", scope["method"], scope["path"])
            raise

    def _of(self, path: str) -> App:
        for prefix, app in self._mounts.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return app
        return self._otherwise


class Endpoint:
    """Serves an application on a unix socket and on ports."""

    def __init__(self, app: App, folder: Path, *, patient: bool = False) -> None:
        """`folder`: below it the socket gets a directory of its own. `patient`: bounds how long a request's head may
        take and how many connections there are: for ports that strangers may reach."""
        self._app = app
        self._patient = patient
        self._root = folder
        self._folder: Path | None = None
        self._path: Path | None = None
        self._servers: list[tuple[Any, asyncio.Task[None]]] = []
        self._opening = asyncio.Lock()

    async def open(self) -> Path:
        """The unix socket, served. Raises SandboxFailed where it cannot be."""
        async with self._opening:
            if self._path is None:
                try:
                    self._folder = await asyncio.to_thread(socket_folder, self._root)
                    path = self._folder / "gateway"
                    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                    listener.bind(str(path))
                    share(path, 0o660)
                    await self._serve(listener, Callers())
                except OSError as error:
                    raise SandboxFailed("the gateway's socket cannot be made", why=str(error)) from error
                self._path = path
            return self._path

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Serve on a TCP port too (0 = any that is free); where it listens. Raises BadConfiguration, whose fix is an
        option of the command."""
        if not host:  # for the system that is every address of the machine, and nobody means it
            raise BadConfiguration("there is no address to listen on", why="it is empty", fix=_OTHER_HOST)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio looks for it: no delay
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            listener.close()
            why = error.strerror or str(error)
            here = error.errno != errno.EADDRNOTAVAIL and not isinstance(error, socket.gaierror)
            fix = OTHER_PORT if here else _OTHER_HOST
            raise BadConfiguration(f"{host}:{port} cannot be listened on", why=why, fix=fix) from error
        await self._serve(listener)
        found = listener.getsockname()
        return str(found[0]), int(found[1])

    async def own(self, path: Path) -> None:
        """Serve on a unix socket at that place, which only its owner can open; what lies there is replaced. The caller
        sees to it that nobody serves there. Raises BadConfiguration."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with socket_address(fresh) as address:
                fresh.unlink(missing_ok=True)
                listener.bind(address)
            fresh.chmod(0o600)
            listener.listen(_BACKLOG)
            fresh.replace(path)
        except OSError as error:
            listener.close()
            fresh.unlink(missing_ok=True)
            raise BadConfiguration(f"{path} cannot be served", why=error.strerror or str(error)) from error
        await self._serve(listener)

    async def _serve(self, listener: socket.socket, callers: Callers | None = None) -> None:
        """`callers`: bounds the connections of each sandbox."""
        uvicorn = await asyncio.to_thread(importlib.import_module, "uvicorn")
        kind = "patience.PatientProtocol" if self._patient else "gathering.GatheringProtocol"
        module, _, protocol = f"quarterdeck.doors.{kind}".rpartition(".")
        http: Any = getattr(await asyncio.to_thread(importlib.import_module, module), protocol)
        config = uvicorn.Config(
            self._app,
            http=http if callers is None else partial(http, callers=callers),
            limit_concurrency=_MOST if self._patient else None,
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_LAST_SECONDS,
        )
        # What goes wrong in a door is logged above; answers that break off on purpose are not worth a line each.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        server = uvicorn.Server(config)
        server.capture_signals = _no_signals
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            if task.done():
                listener.close()
                task.result()
                raise SandboxFailed("the endpoint did not start")
            await asyncio.sleep(0)
        self._servers.append((server, task))

    async def close(self) -> None:
        """Serve no longer. Idempotent."""
        servers, self._servers = self._servers, []
        for server, _ in servers:
            server.should_exit = True
        for ended in await asyncio.gather(*(task for _, task in servers), return_exceptions=True):
            if isinstance(ended, Exception):
                _log.warning("a door did not close in order: %r", ended)
        self._path = None
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, True)
            self._folder = None


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """What to bind or connect to for the unix socket `path`, however long that is (the system takes some 100 bytes)."""
    if len(os.fsencode(path)) < _ADDRESS_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.contextmanager
def _no_signals() -> Iterator[None]:
    yield
