"""Requests that carry a key are done once: around the API, inside of the guard.

Rules
- An answer is on record before it is sent. One that blames us (5xx), or that was refused before anything was looked at,
  is not kept: the request may be made again.
"""

import hashlib
import re
from typing import Any, Final

from quarterdeck.doors.api.guard import (
    BODY,
    PERSON,
    RESERVED,
    SESSION,
    App,
    Message,
    Receive,
    Refused,
    Scope,
    Send,
    refuse,
)
from quarterdeck.doors.api.replies import New, Other, Replies, Reply, UnderWay
from quarterdeck.doors.api.trust import SAFE

HEADER: Final = b"idempotency-key"
_KEY: Final = re.compile(r"[!-~]{1,255}")
_KEPT_BELOW: Final = 500
_PASSING: Final = frozenset((401, 403, 408, 413, 429))


class Once:
    """Around the API."""

    def __init__(self, app: App, replies: Replies) -> None:
        self._app = app
        self._replies = replies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = next((value.decode("latin-1") for name, value in scope["headers"] if name == HEADER), "")
        if scope["method"] in SAFE or scope["path"] == SESSION or not _KEY.fullmatch(key):
            return await self._app(scope, receive, send)  # one that has the wrong form is refused by its route
        who = scope[PERSON].name
        try:
            found = await self._replies.begin(who, key, digest(scope))
        except Other:
            return await refuse(scope, send, Refused(422, "this Idempotency-Key came with another request before"))
        except UnderWay:
            return await refuse(scope, send, Refused(409, "the same request is being answered now; ask again later"))
        if isinstance(found, Reply):
            return await _again(send, found)
        return await self._first(scope, receive, send, who, key, found)

    async def _first(self, scope: Scope, receive: Receive, send: Send, who: str, key: str, new: New) -> None:
        heard: list[Message] = []

        async def listen(message: Message) -> None:
            heard.append(message)

        try:
            await self._app({**scope, RESERVED: new.run}, receive, listen)
        except Exception:
            if not heard:
                await self._replies.forget(who, key)
                raise
            # Else it was written down and answered as what it is (500), which is sent below.
        except BaseException:
            self._replies.leave(who, key)  # how far it came is not known: it keeps the id of its run
            raise
        reply = _reply(heard)
        if reply is None or reply.status >= _KEPT_BELOW or reply.status in _PASSING:
            await self._replies.forget(who, key)
        else:
            await self._replies.end(who, key, reply)
        for message in heard:
            await send(message)


def digest(scope: Scope) -> str:
    """What the request is: its method, its place, what it is bound to, its body."""
    bound = [value for name, value in scope["headers"] if name == b"if-match"]
    parts = (scope["method"].encode(), scope["path"].encode(), scope.get("query_string", b""), *bound, scope[BODY])
    return hashlib.sha256(b"\0".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()


def _reply(heard: list[Message]) -> Reply | None:
    """The answer, if it is whole."""
    if not heard or heard[-1].get("more_body"):
        return None
    headers: dict[bytes, bytes] = dict(heard[0]["headers"])
    body = b"".join(message.get("body", b"") for message in heard[1:])
    kinds = [headers.get(name, b"").decode("latin-1") for name in (b"location", b"content-type")]
    return Reply(heard[0]["status"], "\n".join(kinds), body)


async def _again(send: Send, reply: Reply) -> None:
    location, _, kind = reply.location.partition("\n")
    headers: list[tuple[bytes, Any]] = [
        (b"content-type", kind.encode("latin-1")),
        (b"content-length", str(len(reply.body)).encode()),
        (b"idempotent-replayed", b"true"),
    ]
    if location:
        headers.append((b"location", location.encode("latin-1")))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
