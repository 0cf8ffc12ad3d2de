"""The door for messages from outside: `POST /hooks/NAME`.

Rules
- What is answered says nothing to strangers: an unknown trigger and a wrong signature look alike.
- A body is bounded, has to come within a deadline, and only so many are read at the same time.
- Success is answered once the message is on record, and not before. While that is not possible, the sender is told to
  come again.
"""

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from typing import Final, Protocol

from quarterdeck.doors.model_calls import Receive, Scope, Send
from quarterdeck.kernel.failures import BadConfiguration, StoreUnavailable
from quarterdeck.triggers.receiving import Receipt

_log = logging.getLogger(__name__)

MAX_BODY: Final = 2 * 1024 * 1024
"""Bytes. An issue's text has 65,536 characters at most; GitHub repeats some of it."""
BODY_SECONDS: Final = 15.0
MOST: Final = 32
"""Messages that are read at the same time."""
PREFIX: Final = "/hooks/"

_NAME: Final = re.compile(r"[a-z0-9_-]{1,60}")
_ANSWERS: Final[dict[Receipt, tuple[int, str]]] = {
    "accepted": (202, "accepted"),
    "duplicate": (200, "known"),
    "ignored": (200, "ignored"),
    "stranger": (401, "not accepted"),
    "unreadable": (400, "not readable"),
}


class Receiver(Protocol):
    """Who takes messages: `quarterdeck.triggers.receiving.Receiving`."""

    async def receive(self, name: str, headers: Mapping[str, str], body: bytes) -> Receipt:
        """What becomes of it. Raises StoreUnavailable, BadConfiguration."""
        ...


class Hooks:
    """The application below `/hooks`."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._reading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = str(scope["path"]).removeprefix(PREFIX)
        if not str(scope["path"]).startswith(PREFIX) or not _NAME.fullmatch(name):
            return await _answer(send, 401, "not accepted")
        if scope["method"] != "POST":
            return await _answer(send, 405, "POST only", [(b"allow", b"POST")])
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > MAX_BODY:
            return await _answer(send, 413, "too large")
        if self._reading >= MOST:
            return await _answer(send, 503, "busy", [(b"retry-after", b"5")])
        self._reading += 1
        try:
            status, words = await self._taken(name, headers, receive)
        finally:
            self._reading -= 1
        more = [(b"retry-after", b"30")] if status == 503 else []
        return await _answer(send, status, words, more)

    async def _taken(self, name: str, headers: Mapping[str, str], receive: Receive) -> tuple[int, str]:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read(receive)
        except TimeoutError:
            return 408, "too slow"
        if body is None:
            return 413, "too large"
        try:
            return _ANSWERS[await self._receiver.receive(name, headers, body)]
        except (StoreUnavailable, BadConfiguration) as error:
            _log.warning("a message to the trigger %s could not be taken: %s", name, error)
            return 503, "not now"


async def _read(receive: Receive) -> bytes | None:
    """The body; None = it is too large, or its sender is gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


async def _answer(send: Send, status: int, words: str, more: list[tuple[bytes, bytes]] | None = None) -> None:
    body = json.dumps({"v": 1, "status": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"), *(more or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
