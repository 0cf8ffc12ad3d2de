"""The server of a deck: one port for people, their programs and their browsers, and a unix socket for the command line.

Rules
- Reached over one port: the API below `/api`, the model gateway below `/v1` and its like, the desks of outside agents
  at `/mcp`, what Prometheus reads at `/metrics`, the dashboard everywhere else.
- A port that other machines can reach is refused as long as there is no token; so is one with a name of its own, which
  is how a proxy before it leads them here.
- Once there was a token, one is asked for until the server ends: taking the last one back opens nothing.
- The unix socket belongs to one server of a home. Another one takes it over when that has ended.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from quarterdeck.assembly.parts import Parts
from quarterdeck.assembly.showing import show
from quarterdeck.board.live import Live
from quarterdeck.doors.api.door import guarded, open_api
from quarterdeck.doors.api.guard import Named
from quarterdeck.doors.api.port import Backing, Served
from quarterdeck.doors.api.replies import Replies
from quarterdeck.doors.api.sessions import Sessions
from quarterdeck.doors.api.trust import Person, Way, way_of
from quarterdeck.doors.metrics import MetricsDoor
from quarterdeck.doors.model_calls import ModelCalls
from quarterdeck.doors.serve import OTHER_PORT, SOCKET, App, Doors, Endpoint, Serving
from quarterdeck.doors.site import Site, built
from quarterdeck.kernel.failures import BadConfiguration, Conflicting
from quarterdeck.settings.tokens import TOKENS_FILE, Token, match, read_tokens
from quarterdeck.workplace.lock import held

_log = logging.getLogger(__name__)

_LOCK: Final = "api.lock"
_AGAIN_SECONDS: Final = 1.0
_MODELS: Final = ("/v1", "/v1beta", "/v1alpha", "/anthropic", "/openai", "/google", "/gemini")


class HomeKeys:
    """The tokens in a home's file, read again when it has changed."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._seen: tuple[int, int] | None = None
        self._tokens: tuple[Token, ...] = ()
        self._had = False

    def any(self) -> bool:
        """Whether there are tokens, or were since the server began: then a port asks for one."""
        return bool(self._now()) or self._had

    def find(self, token: str) -> Person | None:
        """Whose token that is."""
        found = match(self._now(), token)
        return Person(found.name, found.role) if found is not None else None

    def _now(self) -> tuple[Token, ...]:
        try:
            info = (self._home / TOKENS_FILE).stat()
            seen = (info.st_mtime_ns, info.st_ino)
        except FileNotFoundError:
            seen = None
        if seen != self._seen:
            self._tokens = read_tokens(self._home)  # one that cannot be read lets nobody in: it raises
            self._seen = seen
            self._had = self._had or bool(self._tokens)
        return self._tokens


async def _kept(live: Live) -> None:
    """The board, kept up to date. A bug of ours there is written down and must not leave a board that stands still."""
    while True:
        try:
            await live.run()
        except Exception:  # noqa: BLE001 - it is recorded, and the board goes on
            _log.exception("the board broke off")
            await asyncio.sleep(_AGAIN_SECONDS)


@asynccontextmanager
async def serving(
    deck: Served, parts: Parts, host: str, port: int, names: Sequence[str], more: Mapping[str, App]
) -> AsyncIterator[Serving]:
    """Serve until the end. `names`: host names under which it may be asked; `more`: further doors, by the beginning of
    their paths. Raises BadConfiguration."""
    keys, home = HomeKeys(parts.settings.home), parts.settings.home
    way = Way.NETWORK if names else way_of(host)
    if way is Way.NETWORK and not keys.any():
        raise BadConfiguration(
            f"{names[0] if names else host} can be reached from other machines, and there is no token",
            why="whoever reaches the port could do everything",
            fix="quarterdeck token add NAME --role admin",
        )
    await parts.agreed.begin(
        lasting=True
    )  # also where others perform the work: what is in this home's file holds for them too
    shown = show(parts)
    backing = Backing(deck, shown, keys, Sessions(parts.clock))
    shared = parts.settings.database_url is not None
    api = await open_api(backing, Replies(parts.store, parts.owner, parts.clock, shared=shared))
    site, models = Site(await asyncio.to_thread(built)), ModelCalls(parts.gateway)

    def doors(by: Way) -> Doors:
        inner = guarded(api, by, backing)
        metrics = guarded(MetricsDoor(parts.telemetry.exposed), by, backing)
        return Doors(
            site, {"/api": inner, "/metrics": metrics, "/mcp": parts.door, **dict.fromkeys(_MODELS, models), **more}
        )

    public = Endpoint(Named(doors(way), tuple(names)), parts.ground.sockets, patient=True)
    private = Endpoint(doors(Way.SOCKET), parts.ground.sockets)
    behind = [asyncio.create_task(_kept(shown.live))]
    try:
        where, number = await _listen(public, host, port, home)
        tried = asyncio.Event()
        behind.append(asyncio.create_task(_own(private, home, tried)))
        await tried.wait()
        address = f"[{where}]" if ":" in where else where
        yield Serving(f"http://{address}:{number}", home / SOCKET, way is Way.NETWORK, way is Way.NETWORK or keys.any())
    finally:
        for task in behind:
            task.cancel()
        await asyncio.gather(*behind, return_exceptions=True)
        await public.close()
        await private.close()


async def _listen(endpoint: Endpoint, host: str, port: int, home: Path) -> tuple[str, int]:
    try:
        return await endpoint.listen(host, port)
    except BadConfiguration as error:
        why, fix = error.why, f"quarterdeck up {error.fix}"
        if error.fix == OTHER_PORT:
            fix += "   (any port that is free; or end what listens there)"
        if error.fix == OTHER_PORT and await _served(home):
            why = f"{why}; this deck has a server already, which may be what listens there"
            fix = f"open http://{error.message.partition(' ')[0]}, or {fix}"
        raise BadConfiguration(error.message, why=why, fix=fix) from error


async def _served(home: Path) -> bool:
    """Whether another process serves the home's unix socket."""
    try:
        async with held(home / _LOCK, timeout=0):
            return False
    except Conflicting:
        return True


async def _own(endpoint: Endpoint, home: Path, tried: asyncio.Event) -> None:
    """Serve the home's unix socket as soon as nobody else does, until cancelled. `tried`: set after the first try."""
    try:
        while True:
            try:
                async with held(home / _LOCK, timeout=0):
                    await endpoint.own(home / SOCKET)
                    tried.set()
                    try:
                        await asyncio.Event().wait()
                    finally:
                        with contextlib.suppress(FileNotFoundError):
                            (home / SOCKET).unlink()
            except Conflicting:
                tried.set()
                await asyncio.sleep(_AGAIN_SECONDS)
    except BadConfiguration as error:  # the port is served all the same; the command line works without a server
        _log.warning("%s", error)
    finally:
        tried.set()
