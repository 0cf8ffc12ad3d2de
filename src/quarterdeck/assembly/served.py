"""A deck whose server works on it: what only the server can judge is asked of it, over the home's unix socket.

Rules
- A run is ordered where it will be carried out: keys, sandbox and limits are the server's, and so is the judgement
  whether the run is possible.
- Everything else needs no server. What is looked at stands in the home's database, which is read without waiting for
  anybody; what steers a run is put into the same queue that the server performs. So all of that goes on working when
  the server hangs or dies, and whoever follows a run takes it over.
- Where no server answers, this process does it itself. A request that a server died over is done once: it carries a
  key, under which the server wrote down which id the run gets.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import h11

from quarterdeck.assembly.deck import Deck
from quarterdeck.assembly.ordering import MAX_PLAN_BYTES
from quarterdeck.assembly.parts import Parts, make
from quarterdeck.assembly.planfile import read_plan_file
from quarterdeck.assembly.probed import install
from quarterdeck.delivery.order import Order, RevertOrder
from quarterdeck.delivery.plans.plan import parse_plan
from quarterdeck.doors.api.problems import Problem, error_of
from quarterdeck.doors.serve import SOCKET, socket_address
from quarterdeck.engine.seats import Place
from quarterdeck.kernel.failures import BadConfiguration, NotFound, Unreachable
from quarterdeck.settings import Settings

_SECONDS: Final = 600.0
"""For one answer; ordering a run may copy a large repository first."""
_ALIVE_SECONDS: Final = 15.0
"""For the answer to a question that takes no time: a server that hangs is told from one that has much to do."""
_LARGEST: Final = 4 * 1024 * 1024
_READ: Final = 64 * 1024


class _Unserved(Exception):
    """No server answers, or it went away before it had answered."""


class ServedDeck(Deck):
    """A deck that may have a server."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._home = parts.settings.home

    async def served(self) -> bool:
        """Whether a server works on the deck's runs."""
        try:
            await self._alive()
        except _Unserved:
            return False
        return await self.attended()

    async def _alive(self) -> None:
        """Raises _Unserved; Unreachable where there is a server that does not answer."""
        await self._ask("GET", "/api/v1/me", None, "", _ALIVE_SECONDS)

    async def create(self, order: Order, *, run: str | None = None) -> str:
        """Store the run, by the server where there is one; returns its id."""
        # Where an order comes from outside, everything that needs a key of this process was done before.
        if run is not None or order.origin is not None or not (self._home / SOCKET).exists():
            return await super().create(order, run=run)
        if order.plan_path is not None and order.plan_text is None:
            data = await read_plan_file(order.plan_path, MAX_PLAN_BYTES + 1)
            parse_plan(data, origin=str(order.plan_path))  # what is wrong with it is said with its place
            order = order.model_copy(update={"plan_text": data.decode()})
        key = secrets.token_urlsafe(16)
        try:
            await self._alive()
            return str((await self._ask("POST", "/api/v1/runs", _new_run(order), key))["run"])
        except _Unserved:
            left = await self._left(key)
            return left if left is not None and await self._there(left) else await super().create(order, run=left)

    async def revert(self, order: RevertOrder, *, run: str | None = None) -> str:
        """Store a run that takes back what landed, by the server where there is one; returns its id."""
        if run is not None or not (self._home / SOCKET).exists():
            return await super().revert(order, run=run)
        of, _, task = order.of.partition(".")
        asked = {**order.model_dump(mode="json", exclude={"of", "user"}), "task": task or None}
        key = secrets.token_urlsafe(16)
        try:
            await self._alive()
            return str((await self._ask("POST", f"/api/v1/runs/{of}/revert", asked, key))["run"])
        except _Unserved:
            left = await self._left(key)
            return left if left is not None and await self._there(left) else await super().revert(order, run=left)

    async def _left(self, key: str) -> str | None:
        """The run's id, as the server that is gone wrote it down."""
        rows = await self._parts.store.read("reply_find", who=self.settings.user, key=key)
        return str(rows[0]["run"]) if rows else None

    async def _there(self, run: str) -> bool:
        try:
            await self.views.run(run)
        except NotFound:
            return False
        return True

    async def _ask(self, method: str, path: str, body: Any, key: str, seconds: float = _SECONDS) -> Any:
        """The server's answer. Raises _Unserved, and what the server raised."""
        headers = [("quarterdeck-user", self.settings.user.encode("ascii", "replace").decode())]
        headers += [("idempotency-key", key)] if key else []
        try:
            async with asyncio.timeout(seconds):
                with socket_address(self._home / SOCKET) as address:
                    reader, writer = await asyncio.open_unix_connection(address)
                try:
                    status, data = await _exchange(reader, writer, method, path, headers, body)
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except TimeoutError:
            fix = "end quarterdeck up and start it again: its runs go on where they were"
            raise Unreachable(f"the server of this deck did not answer within {seconds:g} s", fix=fix) from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise _Unserved from error
        if status < 400:
            return json.loads(data)
        said = error_of(Problem.model_validate_json(data))
        if isinstance(said, BadConfiguration):
            where = "as the server of this deck sees it"
            raise type(said)(said.message, why=f"{said.why} ({where})" if said.why else where, fix=said.fix)
        raise said


def _new_run(order: Order) -> dict[str, Any]:
    """What the API is asked for."""
    plain = order.model_dump(mode="json", exclude={"plan_path", "plan_text", "user", "origin"})
    return {**plain, "plan": order.plan_text, "plan_name": str(order.plan_path or "the plan")}


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    path: str,
    headers: list[tuple[str, str]],
    body: Any,
) -> tuple[int, bytes]:
    """One request and its answer. Raises OSError, h11.RemoteProtocolError where the connection broke off."""
    data = b"" if body is None else json.dumps(body).encode()
    head = [("host", "localhost"), ("content-type", "application/json"), ("content-length", str(len(data))), *headers]
    connection = h11.Connection(h11.CLIENT)
    writer.write(connection.send(h11.Request(method=method, target=path, headers=head)) or b"")
    writer.write((connection.send(h11.Data(data=data)) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    status, got = 0, bytearray()
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(_READ))
            case h11.Response(status_code=status):
                pass
            case h11.Data(data=more):
                got += more
                if len(got) > _LARGEST:
                    raise OSError("the answer is too long")
            case h11.EndOfMessage():
                return status, bytes(got)
            case _:
                raise OSError("the server closed the connection")


@asynccontextmanager
async def open_served(settings: Settings, place: Place | None = None) -> AsyncIterator[ServedDeck]:
    """The deck in `settings.home`, through its server where one works on it. Raises as `open_deck`.

    place: what this process takes of the work where it has to do some itself, None = everything.
    """
    install(settings)
    parts = await make(settings, place=place)
    try:
        yield ServedDeck(parts)
    finally:
        await parts.close()
