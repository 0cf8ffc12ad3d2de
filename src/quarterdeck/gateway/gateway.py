"""The gateway of one deck: its keys, and every request that comes with one.

Rules
- A request without a living key is answered with the reason, never passed on.
- Each request is a task of its own, known by its key: revoking the key cancels them and waits until they are closed.
- What cannot be recorded does not leave: without the journal the gateway answers 503 and stays alive. Why is said once,
  until a call gets through again: clients try again at once.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from quarterdeck.gateway import refusals, routes, wires
from quarterdeck.gateway.answers import Client
from quarterdeck.gateway.calls import Calls
from quarterdeck.gateway.keys import Key, Keys
from quarterdeck.gateway.port import Grant, Metering, Opened
from quarterdeck.gateway.record import Book
from quarterdeck.gateway.wires import Operation, Place
from quarterdeck.journal.port import Claim
from quarterdeck.kernel.failures import QuarterdeckError

_log = logging.getLogger(__name__)

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a request; more than any provider takes."""

AT_ONCE: Final = 256
"""Requests of one key under way."""


class ModelGateway:
    """Implements `Gateway`; the door hands it what comes over the wire."""

    def __init__(self, book: Book, calls: Calls, open_door: Callable[[], Awaitable[Path]]) -> None:
        """`open_door`: serves this gateway where it is not served yet; the endpoint's socket."""
        self._book = book
        self._calls = calls
        self._open_door = open_door
        self._keys = Keys()
        self._trouble = ""
        """Why the last call could not be carried."""

    async def grant(self, grant: Grant) -> Opened:
        key = self._keys.make(grant, await self._book.heal(grant.claim, grant.attempt))
        return Opened(key.secret, await self._open_door())

    async def heal(self, claim: Claim, attempt: str) -> None:
        """Close what a dead process left open there."""
        await self._book.heal(claim, attempt)

    async def revoke(self, key: str, why: str = "") -> None:
        found = self._keys.find(key)
        if found is not None:
            await self._end(found, why or "its attempt is over")

    def metering(self, key: str) -> Metering:
        found = self._keys.find(key)
        return found.metering if found is not None else Metering()

    async def close(self) -> None:
        """Revoke all keys. Idempotent."""
        await asyncio.gather(*(self._end(key, "the deck is closed") for key in self._keys.living()))

    async def _end(self, key: Key, why: str) -> None:
        self._keys.bury(key, why)
        for call in key.calls:
            call.cancel()
        self._book.hurry()
        while left := key.calls | key.closing:  # a call that ends may leave something to close
            await asyncio.wait(left)

    # --- what the door calls ------------------------------------------------------------------------------

    def known(self, secret: str) -> Key | None:
        """The key of that secret, also a dead one."""
        return self._keys.find(secret)

    def living(self, secret: str) -> bool:
        """Whether the key of that secret is good: for anybody else, nothing is kept of a request."""
        key = self._keys.find(secret)
        return key is not None and key.why_dead() is None

    async def answer(
        self,
        where: Place,
        secret: str,
        raw: bytes,
        query: str,
        headers: list[tuple[str, str]],
        client: Client,
    ) -> None:
        """Answer one request. Raises CancelledError where its caller or its key is gone, ConnectionAbortedError where
        the answer broke off and the client must see that."""
        key = self._keys.find(secret)
        if key is None:
            return await _say(client, where, "there is no such key at Quarterdeck's gateway", "unknown_key", 401)
        if (why := key.why_dead()) is not None:
            return await _say(client, where, f"this key was revoked: {why}. Stop here.", "revoked")
        if where.operation is Operation.LIST:
            return await _list(client, where, key.grant.models)
        if len(key.calls) >= AT_ONCE:
            return await _say(client, where, f"{AT_ONCE} calls at once are the most for one key", "too_many")
        try:
            asked = wires.read(where, raw, query)
        except ValueError as error:
            return await _say(client, where, f"the request cannot be read: {error}", "unreadable")
        task = asyncio.current_task()
        assert task is not None  # a coroutine that is awaited runs in a task
        key.calls.add(task)
        try:
            await self._calls.carry(key, asked, headers, client)
            self._trouble = ""
        except asyncio.CancelledError:
            why = key.why_dead()
            if why is None or client.begun:
                raise
            # Its connection is as good as any: whoever asked is told why.
            return await _say(client, where, f"this key was revoked: {why}. Stop here.", "revoked")
        except QuarterdeckError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                _log.warning("the gateway cannot serve %s: %s", key.grant.attempt, error)
            with contextlib.suppress(ConnectionError):
                await _say(client, where, f"Quarterdeck cannot work at the moment: {error}", "unavailable", 503)
        finally:
            key.calls.discard(task)
        return None


async def _list(client: Client, where: Place, models: Sequence[str]) -> None:
    if not where.model:
        return await _send(
            client, 200, refusals.models(where.wire, [name.partition(":")[2] for name in routes.servable(models)])
        )
    if not routes.is_known(where.model, models):
        return await _say(client, where, f"{where.model!r} is not a model of this key", "model_not_found", 404)
    return await _send(client, 200, refusals.model(where.wire, where.model))


async def _say(client: Client, where: Place, sentence: str, code: str, status: int = 400) -> None:
    said = refusals.refusal(where.wire, f"Quarterdeck: {sentence}", code, status)
    await _send(client, said.status, said.body, said.headers)


async def _send(
    client: Client,
    status: int,
    body: bytes,
    headers: Iterable[tuple[str, str]] = (("content-type", "application/json"),),
) -> None:
    await client.head(status, headers)
    await client.end(body)
