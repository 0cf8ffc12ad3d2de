"""What every request passes before anything of the product is asked: plain ASGI, around the API and around everything.

Rules
- Refusals are problems like any other error, and are made before the body is read where that is possible.
- A body is read here, whole, within its limit and its time, and handed on; nothing behind this waits for a slow client.
- Every answer says that it is not to be guessed at, framed, embedded or kept.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, Final

from quarterdeck.doors.api.problems import PROBLEM, Problem, of_error, of_status
from quarterdeck.doors.api.sessions import Sessions
from quarterdeck.doors.api.trust import (
    SAFE,
    Keys,
    Person,
    Way,
    from_elsewhere,
    host_known,
    is_json,
    token_of,
)
from quarterdeck.kernel.failures import QuarterdeckError
from quarterdeck.settings.tokens import Role

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)

PERSON: Final = "quarterdeck.person"
"""Where `Person` stands in the scope of a request that was let in."""
BODY: Final = "quarterdeck.body"
"""Where the whole body stands in its scope."""
STILL: Final = "quarterdeck.still"
"""Where the question stands whether that person would be let in now as well: for answers that never end."""
RESERVED: Final = "quarterdeck.run"
"""Where the id stands that a new run gets, so that a request that is repeated names the same one."""
USER_HEADER: Final = "quarterdeck-user"
"""On the unix socket: in whose name its owner asks."""

SESSION: Final = "/api/v1/session"
"""The one path that is asked without a token: it brings one."""
LARGEST: Final = 1024 * 1024
"""Bytes of a body."""
LARGEST_PLAN: Final = 12 * 1024 * 1024
"""Of one that brings a plan along: a plan of the largest size, as a JSON string."""
BODY_SECONDS: Final = 30.0

_API_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class Refused(Exception):
    """The request goes no further."""

    def __init__(self, status: int, detail: str, fix: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.fix = fix


class Named:
    """Around everything that a port serves: whoever names this server wrongly was led here."""

    def __init__(self, app: App, names: tuple[str, ...], spared: tuple[str, ...] = ("/hooks",)) -> None:
        """`names`: host names that the operator gave; `spared`: beginnings of paths that prove themselves."""
        self._app = app
        self._names = names
        self._spared = spared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if not any(path == each or path.startswith(f"{each}/") for each in self._spared):
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or not host_known(hosts[0], self._names):
                fix = "quarterdeck up --name HOST, if it is a name of this server"
                return await refuse(scope, send, Refused(421, "the Host header names another server", fix))
        return await self._app(scope, receive, send)


class Guard:
    """Around the API."""

    def __init__(self, app: App, way: Way, keys: Keys, sessions: Sessions, user: str) -> None:
        """`user`: in whose name requests are made that need no token."""
        self._app = app
        self._way = way
        self._keys = keys
        self._sessions = sessions
        self._user = user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        try:
            person = Person("", Role.OPERATOR) if scope["path"] == SESSION else self._person(headers)
            if scope["method"] not in SAFE:
                self._check(headers, person)
            body = await _whole(receive, headers, LARGEST_PLAN if scope["path"] == "/api/v1/runs" else LARGEST)
            told = _Told(body, receive)
            return await self._app(
                {**scope, PERSON: person, BODY: body, STILL: partial(self._still, headers, person)},
                told,
                _with_headers(send),
            )
        except Refused as refused:
            return await refuse(scope, send, refused)
        except (
            QuarterdeckError
        ) as error:  # tokens that cannot be read, a database that does not answer: nothing is sent
            return await answer(send, of_error(error, scope["path"][:500]))

    def _person(self, headers: dict[str, str]) -> Person:
        """Who asks. Raises Refused."""
        if self._way is Way.SOCKET:
            return Person(headers.get(USER_HEADER) or self._user, Role.ADMIN)
        if self._way is Way.LOOPBACK and not self._keys.any():
            return Person(self._user, Role.ADMIN)
        token = token_of(headers)
        person = self._keys.find(token) if token else self._sessions.find(headers.get("cookie", ""), self._keys)
        if person is None:
            raise Refused(401, "the token is unknown or missing", "quarterdeck token add NAME --role operator")
        return person

    def _still(self, headers: dict[str, str], person: Person) -> bool:
        """Whether the same person would be let in now."""
        try:
            return self._person(headers) == person
        except (Refused, QuarterdeckError):
            return False

    def _check(self, headers: dict[str, str], person: Person) -> None:
        """What holds for everything that changes something. Raises Refused."""
        if self._way is not Way.SOCKET and (why := from_elsewhere(headers)):
            fix = "use the pages that this server serves, or none"
            raise Refused(403, f"the request comes from another site: {why}", fix)
        if not person.may(Role.OPERATOR):
            raise Refused(403, f"{person.name} may only look", "quarterdeck token add NAME --role operator")
        if not is_json(headers.get("content-type", "")):
            raise Refused(415, "the body has to be JSON, said in Content-Type: application/json")


class _Told:
    """A receive that hands on the body that was read, then what the client says."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _headers(scope: Scope) -> dict[str, str]:
    """The headers by name; of one that comes twice, the first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


async def _whole(receive: Receive, headers: dict[str, str], largest: int) -> bytes:
    """The whole body. Raises Refused."""
    said = headers.get("content-length", "0")
    if said.isdigit() and int(said) > largest:
        raise Refused(413, f"more than {largest} bytes")
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "the request broke off")
                read += message.get("body", b"")
                if len(read) > largest:
                    raise Refused(413, f"more than {largest} bytes")
                if not message.get("more_body"):
                    return bytes(read)
    except TimeoutError:
        raise Refused(408, f"the body did not come within {BODY_SECONDS:g} s") from None


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(pair for pair in _API_HEADERS if pair[0] not in there)]
        await send(message)

    return sent


async def refuse(scope: Scope, send: Send, refused: Refused) -> None:
    """Answer with a problem."""
    await answer(send, of_status(refused.status, str(refused), scope["path"][:500], refused.fix))


async def answer(send: Send, problem: Problem) -> None:
    """A whole problem. The connection of a request whose body was not read is closed behind it."""
    body = problem.model_dump_json().encode()
    headers = [(b"content-type", PROBLEM.encode()), (b"content-length", str(len(body)).encode()), *_API_HEADERS]
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if problem.status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
