"""The toolshed: which tools of outside servers an agent gets, and the servers that run for it.

Rules
- A server is started only where the operator approved its very declaration, some agent is allowed one of its tools, and
  that agent begins to work. Nothing is started by looking.
- One instance of a server serves one run: what one run leaves in it, no other run sees. It ends a while after the last
  attempt that needed it. One that is declared with `workspace = true` belongs to one sandbox and ends with the attempt.
- What an agent is given is decided once, when its attempt begins, and is on record: an attempt that goes on after a
  crash has the same tools, whatever its servers say by then.
- A server that a definition names has to be there with the tool it names; otherwise the attempt does not begin. What is
  optional and not there is said.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from pydantic import TypeAdapter

from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.failures import BadConfiguration, ToolServerFailed
from quarterdeck.kernel.servers import McpServer
from quarterdeck.tools.port import Tool
from quarterdeck.tools.shed import choosing
from quarterdeck.tools.shed.answers import Answer
from quarterdeck.tools.shed.catalogue import Entry, Listing
from quarterdeck.tools.shed.choosing import words_of
from quarterdeck.tools.shed.needs import Access, Needs, lacks, missing, wants_servers
from quarterdeck.tools.shed.server import Running, Server, Tell
from quarterdeck.tools.shed.tools import FIND, USE, FindTools, OutsideTool, UseTool

IDLE: Final = 60.0
"""Seconds that a server stays after the last attempt that needed it."""

START_PATIENCE: Final = 5.0
"""Longest pause between tries to start a server that an attempt needs, seconds."""

QUICK: Final = 20.0
"""Seconds after which a server that did not start is not tried again for the attempt that needs it."""

_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Given:
    """What one agent was given: what is recorded of it."""

    shown: tuple[Entry, ...] = ()
    found: tuple[Entry, ...] = ()
    unavailable: tuple[str, ...] = ()
    """Why a server or tool is missing that the definition allows."""

    def encode(self) -> bytes:
        """As it is stored."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()  # the order of keys is part of a prompt

    @staticmethod
    def decode(data: bytes) -> "Given":
        """The value of `encode`'s bytes."""
        return _GIVEN.validate_json(data)


_GIVEN: Final = TypeAdapter(Given)


@dataclass(frozen=True, slots=True)
class Outside:
    """The tools of one agent, by the names that models use."""

    shown: Mapping[str, Tool]
    hidden: Mapping[str, Tool]
    """Not in front of the model, but it may call them."""


NOTHING: Final = Outside({}, {})


class Ways(Protocol):
    """Starts servers. `server` has its variables put in."""

    def prepare(self) -> None:
        """Begin, without waiting, to load what takes long."""
        ...

    async def start(self, name: str, server: McpServer, needs: Needs) -> Running: ...


class _Caller:
    """The way of one attempt to its servers."""

    def __init__(self, servers: Mapping[str, Server], deck: DeckConfig) -> None:
        self._servers = servers
        self._deck = deck

    async def call(self, entry: Entry, arguments: Mapping[str, Any], timeout: float) -> Answer:
        server = self._servers.get(entry.server)
        if server is None:
            raise ToolServerFailed(f"the tool server `{entry.server}` may not be used any more")
        return await server.call(entry.tool, arguments, min(timeout, self._deck.mcp.servers[entry.server].timeout))

    def secrets(self, server: str) -> Mapping[str, str]:
        return self._servers[server].secrets if server in self._servers else {}


_Key = tuple[str, str, str]


class Shed:
    """All outside servers of a deck that run."""

    def __init__(
        self,
        ways: Ways,
        access: Access,
        clock: Clock,
        *,
        tell: Tell,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ways = ways
        self._access = access
        self._clock = clock
        self._tell = tell
        self._sleep = sleep
        self._servers: dict[_Key, Server] = {}
        self._users: dict[_Key, set[str]] = {}
        self._leaving: dict[_Key, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        """Of servers that nobody uses any more: whoever closes the shed waits for them too."""

    def prepare(self, tools: Sequence[str] | None) -> None:
        """An agent with this definition's `tools` will begin: load what its servers will need, without waiting."""
        if wants_servers(tools):
            self._ways.prepare()

    async def gather(self, needs: Needs) -> Given:
        """Start what the agent needs and choose its tools; `equip` makes them callable. Raises BadConfiguration where
        something it names is not approved, ToolServerFailed where it is not there."""
        words = words_of(needs.tools)
        grave, light = missing(words, needs.deck.mcp.servers, self._access)
        if grave:
            raise BadConfiguration("the agent's tools are not there", why=grave[0], fix="quarterdeck tools")
        entries: list[Entry] = []
        servers = self._enter(needs)
        listings = await asyncio.gather(
            *(_listed(server, self._clock) for server in servers.values()), return_exceptions=True
        )
        for (name, server), listed in zip(servers.items(), listings, strict=True):
            required = any(word.serves(name) and not word.optional for word in words)
            if isinstance(listed, BaseException):
                if required or not isinstance(listed, ToolServerFailed):
                    raise listed
                light.append(str(listed))
                continue
            entries += listed.entries
            for word in words:
                if word.server == name and word.single and not any(map(word.means, entries)):
                    said = f"{word.word}: the server has no such tool"
                    if not word.optional:
                        raise ToolServerFailed(said, why=_other_tools(server), fix=f"quarterdeck tools check {name}")
                    light.append(said)
        chosen = choosing.choose(words, entries, needs.deck.mcp.schemas)
        return Given(chosen.shown, chosen.found, tuple(text[:500] for text in light[:50]))

    def equip(self, needs: Needs, given: Given) -> Outside:
        """The tools of an attempt, callable until `release`. What was given on record stays, whatever is there now."""
        if not given.shown and not given.found:
            return NOTHING
        caller = _Caller(self._enter(needs), needs.deck)
        names = {f"{entry.server}/{entry.tool}": entry.name for entry in (*given.shown, *given.found)}

        def made(entry: Entry) -> Tool:
            declared = needs.deck.mcp.servers.get(entry.server)
            other = declared.fallback.get(entry.tool, "") if declared is not None else ""
            return OutsideTool(entry, caller, names.get(other, ""))

        shown: dict[str, Tool] = {entry.name: made(entry) for entry in given.shown}
        hidden: dict[str, Tool] = {entry.name: made(entry) for entry in given.found}
        if hidden:
            shown = {FIND: FindTools(given.found), USE: UseTool(hidden), **shown}
        return Outside(shown, hidden)

    async def check(self, needs: Needs, name: str) -> None:
        """Start one approved server, list its tools and end it again; `tell` hears what became of it.

        Raises ToolServerFailed, BadConfiguration where it is not approved.
        """
        declared = needs.deck.mcp.servers[name]
        values = self._access(name, declared)
        if values is None:
            raise BadConfiguration(f"the tool server `{name}` is not approved", fix=f"quarterdeck tools approve {name}")
        server = self._made(name, declared, values, needs)
        try:
            await server.ready()
        finally:
            await asyncio.shield(server.close())

    async def release(self, attempt: str) -> None:
        """The attempt is over. Its own servers end now, those of its run a while later."""
        for key, users in list(self._users.items()):
            users.discard(attempt)
            if users or key in self._leaving:
                continue
            if key[0].startswith(_SANDBOX):
                await self._close(key)
            else:
                self._leaving[key] = asyncio.create_task(self._leave(key))

    async def close(self) -> None:
        """End all of them. Idempotent."""
        for task in self._leaving.values():
            task.cancel()
        await asyncio.gather(*self._leaving.values(), return_exceptions=True)
        self._leaving.clear()
        await asyncio.gather(*self._closing, *(self._close(key) for key in list(self._servers)))

    # --- instances ------------------------------------------------------------------------------------------

    def _enter(self, needs: Needs) -> dict[str, Server]:
        """The servers that an attempt may use, by name; nothing is started."""
        found: dict[str, Server] = {}
        words = words_of(needs.tools)
        for name, declared in needs.deck.mcp.servers.items():
            values = self._access(name, declared)
            if values is None or not any(word.serves(name) for word in words):
                continue
            beside = needs.sandbox.id if declared.workspace and needs.sandbox is not None else None
            owner = needs.run if beside is None else f"{_SANDBOX}{beside}"
            key = (owner, name, declared.fingerprint)
            if (leaving := self._leaving.pop(key, None)) is not None:
                leaving.cancel()
            if key not in self._servers:
                self._servers[key] = self._made(name, declared, values, needs)
            if needs.attempt not in self._users.setdefault(key, set()):
                self._users[key].add(needs.attempt)
                self._servers[key].asked()
            found[name] = self._servers[key]
        return found

    def _made(self, name: str, declared: McpServer, values: Mapping[str, str], needs: Needs) -> Server:
        async def start() -> Running:
            now = self._access(name, declared)  # an approval may have been taken back meanwhile, a secret changed
            if now is None:
                raise ToolServerFailed(f"the tool server `{name}` is not approved any more")
            server.secrets = now
            try:
                expanded = declared.expanded(now)
            except KeyError as error:
                raise ToolServerFailed(lacks(name, str(error.args[0]))) from error
            return await self._ways.start(name, expanded, needs)

        server = Server(
            name,
            declared.fingerprint,
            start,
            deadline=declared.start,
            secrets=values,
            clock=self._clock,
            sleep=self._sleep,
            tell=self._tell,
        )
        return server

    async def _leave(self, key: _Key) -> None:
        await self._sleep(IDLE)
        if not self._users.get(key):
            del self._leaving[key]
            await self._close(key)

    async def _close(self, key: _Key) -> None:
        server = self._servers.pop(key, None)
        self._users.pop(key, None)
        if server is not None:
            closing = asyncio.create_task(server.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            await asyncio.shield(closing)


_SANDBOX: Final = "sandbox/"


async def _listed(server: Server, clock: Clock) -> Listing:
    """The tools of a server that an attempt needs, in a few tries where it fails at once. Raises ToolServerFailed."""
    began = clock.monotonic()
    for _ in range(_TRIES - 1):
        try:
            return await server.ready(START_PATIENCE)
        except ToolServerFailed:
            if clock.monotonic() - began > QUICK:
                raise
    return await server.ready(START_PATIENCE)


def _other_tools(server: Server) -> str:
    names = [entry.tool for entry in server.listing.entries]
    return f"it has {', '.join(names[:20])}{', …' if len(names) > 20 else ''}" if names else "it has none"
