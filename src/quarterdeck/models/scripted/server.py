"""The scripted model server: real HTTP, the providers' formats, and every fault a wire can have.

Rules
- The scenario is named by the URL: `<url>/s/<scenario>` is the base URL for an SDK (with `/v1` for OpenAI's).
- An upgrade to a web socket is refused in the way that makes clients fall back to plain HTTP.
- The server keeps no conversation. Its only state: how often each place was asked (for faults), the prompt cache, and
  the ledger.
- A client that goes away is noticed at once, and what it had received until then is what is billed.
"""

import asyncio
import json
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Final, Self

import h11

from quarterdeck.models.scripted import heard
from quarterdeck.models.scripted.cache import Counted, PrefixCache, prompt_tokens
from quarterdeck.models.scripted.exchange import Exchange
from quarterdeck.models.scripted.heard import Heard
from quarterdeck.models.scripted.http1 import Connection, HttpRequest
from quarterdeck.models.scripted.ledger import Asked, Bill, Ledger
from quarterdeck.models.scripted.lookups import asking, look_up, not_found
from quarterdeck.models.scripted.scenario import Scenario

_PATH: Final = re.compile(r"(?:/s/(?P<scenario>[^/]+))?(?P<rest>/.*)")
_PLACES: Final = 100_000


class ScriptedServer:
    """A model server that follows scenarios; an async context manager."""

    def __init__(
        self,
        scenarios: Scenario | Iterable[Scenario],
        host: str = "127.0.0.1",
        port: int = 0,
        keep: int = 10_000,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keep`: requests that are kept; `now`: the clock by which their arrival is noted."""
        self._now = now
        given = (scenarios,) if isinstance(scenarios, Scenario) else tuple(scenarios)
        self._scenarios = {scenario.name: scenario for scenario in given}
        self._host = host
        self._port = port
        self._ledger = Ledger(keep)
        self._caches: dict[str, PrefixCache] = {}
        self._tries: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where the server listens; serves the scenario `default`, or the only one."""
        return f"http://{self._host}:{self._port}"

    def at(self, scenario: str) -> str:
        """Base URL of a scenario."""
        return f"{self.url}/s/{scenario}"

    def put(self, scenario: Scenario) -> None:
        """Add or replace a scenario while the server runs."""
        self._scenarios[scenario.name] = scenario

    @property
    def requests(self) -> deque[Asked]:
        """What was asked, oldest first; bounded."""
        return self._ledger.requests

    @property
    def billed(self) -> Mapping[tuple[str, str], Bill]:
        """What a provider would have charged, by model and tag."""
        return self._ledger.billed

    @property
    def total(self) -> Bill:
        """What a provider would have charged."""
        return self._ledger.total

    async def seen(self, count: int) -> None:
        """Wait until `count` model requests have arrived."""
        await self._ledger.until(begun=count)

    async def served(self, count: int) -> None:
        """Wait until `count` model requests are over, however they ended."""
        await self._ledger.until(ended=count)

    async def idle(self) -> None:
        """Wait until every model request that has arrived is over."""
        await self._ledger.until(ended=self._ledger.begun)

    # --- connections --------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio runs this callback as a task
        self._connections.add(task)
        connection = Connection(reader, writer)
        try:
            while (request := await connection.receive()) is not None:
                if not await self._respond(connection, request):
                    break
        except (ConnectionError, h11.ProtocolError):
            # The client left or spoke no HTTP: nobody is there to be answered.
            connection.reset()
        except asyncio.CancelledError:
            connection.reset()
        finally:
            self._connections.discard(task)
            await connection.close()

    async def _respond(self, connection: Connection, request: HttpRequest) -> bool:
        """Answer one request; False = the connection cannot be used again."""
        match = _PATH.fullmatch(request.path)
        rest = match["rest"] if match is not None else ""
        scenario = self._scenario(match["scenario"] if match is not None else None)
        if scenario is None:
            await connection.json(404, not_found(f"no scenario for {request.path}"))
            return True
        asked = asking(rest) if request.method == "POST" else None
        if asked is not None:
            return await Exchange(self, scenario, asked, connection, request).run()
        if request.headers.get("upgrade", "").lower() == "websocket":
            # A client that finds no web socket asks over plain HTTP.
            await connection.json(426, not_found("there are no web sockets here"))
            return True
        await self._look_up(connection, request, rest, scenario)
        return True

    def _scenario(self, name: str | None) -> Scenario | None:
        if name is not None:
            return self._scenarios.get(name)
        if len(self._scenarios) == 1:
            return next(iter(self._scenarios.values()))
        return self._scenarios.get("default")

    async def _look_up(self, connection: Connection, request: HttpRequest, rest: str, scenario: Scenario) -> None:
        """Everything that is not a model call."""
        try:
            body = json.loads(request.body) if request.body else {}
            status, found = look_up(scenario, request.method, rest, body)
        except (KeyError, TypeError, ValueError) as error:
            status, found = 400, not_found(f"not understood: {error!r}")
        await connection.json(status, found)

    # --- what an exchange needs of the server -------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        return self._ledger

    def now(self) -> float:
        """The server's clock, seconds."""
        return self._now()

    def attempt(self, scenario: Scenario, request: Heard) -> int:
        """How often this place was asked, this time included."""
        key = (scenario.name, heard.place(request))
        count = self._tries.pop(key, 0) + 1
        self._tries[key] = count
        while len(self._tries) > _PLACES:
            self._tries.popitem(last=False)
        return count

    def count(self, scenario: Scenario, request: Heard) -> Counted:
        """Input tokens by kind."""
        if not scenario.cache:
            return Counted(prompt_tokens(request, scenario.chars_per_token))
        cache = self._caches.setdefault(scenario.name, PrefixCache())
        return cache.count(request, scenario.chars_per_token)
