"""A way to one provider's server: every call of the native loop and of the gateway leaves through here.

For the gateway: `Models.upstream(name)` gives the way of a `provider:model`, ready; then

    async with upstream.forward(name, path, body, headers) as answer:   # POST
        answer.status, answer.headers
        async for chunk in answer.chunks(): ...                         # as they came

Rules
- Bytes in, bytes out: what is sent is not read here, and what comes back is not changed, but for a key that it repeats.
- The key is added here and nowhere else; one that the caller brings is dropped. After a 401 it can be read again.
- Nothing is retried and no redirect is followed: a key must not arrive where it was not sent.
- A connection that cannot be made, breaks, or is silent for too long is a `ModelFailed` that says whether the call may
  have been billed. An answer with an error status is an answer; `refusal` says what it means.
- A call that is cancelled closes its connection before the cancellation goes on.
- What a response says about the provider's rate limits is heard here, for everybody who shares them.
"""

import json
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Final, Protocol

from quarterdeck import __version__
from quarterdeck.kernel.addresses import shown
from quarterdeck.kernel.failures import ModelFailed
from quarterdeck.models import connection, errors, ratelimits, redaction
from quarterdeck.models.http import coding
from quarterdeck.models.http.client import HttpClient
from quarterdeck.models.http.port import HttpFailed
from quarterdeck.models.pace import Pace
from quarterdeck.models.providers import PROVIDERS, Way, key_headers

_LARGEST_ERROR: Final = 64 * 1024
_LARGEST_FACTS: Final = 16 * 1024 * 1024
"""Bytes that are read of what a server says about its models."""
_NOT_PASSED: Final = frozenset(
    {
        *("authorization", "x-api-key", "x-goog-api-key", "proxy-authorization"),
        *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade"),
    }
)
"""Headers of a caller that do not go on: keys, and what holds for one connection only (RFC 9110, 7.6.1)."""
_DEFAULTS: Final = (("accept", "*/*"), ("accept-encoding", "identity"), ("user-agent", f"quarterdeck/{__version__}"))


class Body(Protocol):
    """What an answer is read from."""

    @property
    def over(self) -> bool:
        """Whether all of it has been handed out."""
        ...

    async def chunk(self, due: float = math.inf) -> bytes:
        """What has come since; empty = it is over. Raises HttpFailed; TimeoutError at `due`, by the loop's clock."""
        ...

    async def pour(self, sink: Callable[[bytes], bool], due: Callable[[], float] = lambda: math.inf) -> None:
        """Hand on what comes, as it comes, while `sink` takes more; the last part is for `chunk`. Raises TimeoutError
        at `due`, which is asked again when that has passed."""
        ...


class Answer:
    """A response whose body is still on its way."""

    def __init__(
        self,
        name: str,
        address: str,
        status: int,
        headers: list[tuple[str, str]],
        body: Body,
        pace: Pace | None,
        secrets: tuple[str, ...] = (),
        *,
        keyless: bool = False,
    ) -> None:
        """`address`: as it is shown; `headers`: names in lower case; `secrets`: what the request showed; `keyless`: no
        key is set for it."""
        self.status = status
        self.over = False
        """What `chunks` gave last was the last. It may also end without having known."""
        self._name = name
        self._address = address
        self._said = headers
        self._headers = joined(headers)
        self._body = body
        self._pace = pace
        self._keyless = keyless
        self._hidden = redaction.spellings(secrets, error=status >= 300)
        self._known = redaction.spellings(secrets, error=True)
        self._redactor = redaction.Redactor(self._hidden)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """As they came, names in lower case; without the key, should a server repeat it."""
        said = "\n".join([value for _, value in self._said]).encode()
        if not any(secret in said for secret in self._known):
            return self._said
        return [(name, self._without_key(value)) for name, value in self._said]

    def redacted(self, body: bytes) -> bytes:
        """An error's body without the key: some servers and proxies repeat what they were sent."""
        return redaction.without(self._known, body)

    def _without_key(self, text: str) -> str:
        return redaction.without(self._known, text.encode()).decode()

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    @property
    def packed(self) -> bool:
        """Whether `plain` takes a compression off the body."""
        said = self._headers.get("content-encoding")
        return said is not None and coding.known(said)

    async def piece(self) -> bytes:
        """What has come of the body since, as it came; empty = it is over. Raises ModelFailed."""
        try:
            while chunk := await self._chunk():
                if out := self._redactor.feed(chunk):
                    self.over = self._body.over and not self._redactor.holds
                    return out
            return self._redactor.rest()
        except HttpFailed as error:
            raise connection.broken(self._name, self._address, error) from error

    async def pour(self, sink: Callable[[bytes], bool]) -> None:
        """Hand on each piece in the turn of the event loop in which it comes, as long as `sink` says that it takes
        more. What comes then, the last part and a break are for `piece`. Raises ModelFailed."""
        pace, feed = self._pace, self._redactor.feed
        if pace is None:
            return await self._body.pour(lambda chunk: not (out := feed(chunk)) or sink(out))
        alive = pace.alive

        def on(chunk: bytes) -> bool:
            alive()
            out = feed(chunk)
            return sink(out) if out else True

        pace.due()  # from now on
        try:
            await self._body.pour(on, pace.expected)
        except TimeoutError as error:
            raise pace.silent(pace.expected()) from error

    async def chunks(self, *, plain: bool = False) -> AsyncGenerator[bytes]:
        """The body, as it arrives. `plain`: without the compression that its headers name. Raises ModelFailed."""
        if not (plain and self.packed):
            while piece := await self.piece():
                yield piece
            return
        unpacker = coding.Unpacker(self._headers["content-encoding"])
        try:
            while chunk := await self._chunk():
                for unpacked in unpacker.feed(chunk):
                    if out := self._redactor.feed(unpacked):
                        yield out
            if rest := self._redactor.rest():
                yield rest
        except (HttpFailed, ValueError) as error:
            raise connection.broken(self._name, self._address, error) from error

    async def _chunk(self) -> bytes:
        if self._pace is None:
            return await self._body.chunk()
        due = self._pace.due()
        try:
            chunk = await self._body.chunk(due)
        except TimeoutError as error:
            raise self._pace.silent(due) from error
        self._pace.alive()
        return chunk

    async def refusal(self) -> ModelFailed:
        """What an error status means. Reads the body, within a bound; raises ModelFailed where even that fails."""
        if 300 <= self.status < 400:
            return self.meaning(b"")
        return self.meaning(await self._read(_LARGEST_ERROR))

    def meaning(self, body_of_error: bytes) -> ModelFailed:
        """What an error status means, together with the body that came with it."""
        if 300 <= self.status < 400:
            return errors.redirected(self._name, self.status, self._without_key(self.header("location") or ""))
        text = self.redacted(body_of_error)[:_LARGEST_ERROR].decode("utf-8", "replace")
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = text
        wait = errors.retry_after(self._headers, time.time())
        return errors.failed(self._name, errors.read_body(self.status, body, wait), keyless=self._keyless)

    async def facts(self) -> dict[str, Any]:
        """The body as a JSON object. Raises ModelFailed."""
        try:
            found = json.loads(await self._read(_LARGEST_FACTS))
            if not isinstance(found, dict):
                raise ValueError("not a JSON object")
        except (ValueError, RecursionError) as error:
            raise connection.broken(self._name, self._address, error) from error
        return found

    async def _read(self, limit: int) -> bytes:
        read = bytearray()
        async with aclosing(self.chunks(plain=True)) as chunks:
            async for chunk in chunks:
                read += chunk
                if len(read) >= limit:
                    break
        return bytes(read[:limit])


class Upstream:
    """One provider's server and one key: a pool of connections, shared by all agents."""

    def __init__(self, way: Way) -> None:
        self.provider = way.provider
        self._way = way
        self._known = PROVIDERS[way.provider]
        self._key = way.key
        address = (way.base_url or self._known.address).rstrip("/")
        self.address = shown(address)
        """As people may see it."""
        self._client = HttpClient(address, way.deadlines.connect, _DEFAULTS, way.network)

    @property
    def key(self) -> str | None:
        return self._key

    async def reload_key(self, used: str | None) -> None:
        """Read the key again, unless it is no longer the one that was `used`."""
        if used == self._key and (fresh := self._way.reload()):
            self._key = fresh

    @asynccontextmanager
    async def exchange(
        self,
        name: str,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
        pace: Pace | None = None,
    ) -> AsyncIterator[Answer]:
        """Send `body` to `path` (with its query) below the address; the answer as soon as its head is there.

        `name`: of the model, for failures. Without a `pace` the deadlines are the caller's. Raises ModelFailed.
        """
        due, secrets = (
            math.inf if pace is None else pace.due(),
            redaction.secrets(self._key, self._client.authorization),
        )
        try:
            line = await self._client.begin(method, path, self._sent(headers), body, due)
        except HttpFailed as error:
            raise connection.broken(name, self.address, error) from error
        except TimeoutError as error:
            if pace is None:
                raise
            raise pace.silent(due) from error
        try:
            if (alone := ratelimits.hold(joined(line.headers), time.time())) > 0:
                self._way.told(alone)
            keyless = self._way.keyless
            yield Answer(name, self.address, line.status, line.headers, line, pace, secrets, keyless=keyless)
        finally:
            await self._client.end(line)

    def forward(
        self, name: str, path: str, body: bytes, headers: Iterable[tuple[str, str]] = (), *, whole: bool = False
    ) -> AbstractAsyncContextManager[Answer]:
        """POST under the deadlines, for somebody else's request. Raises ModelFailed, also from the answer's chunks.

        `whole`: the answer comes in one piece, so there is no sign of life before its end.
        """
        deadlines = self._way.deadlines
        deadlines = replace(deadlines, first_byte=deadlines.total) if whole else deadlines
        return self.exchange(name, "POST", path, body, headers, Pace(deadlines, name))

    def _sent(self, given: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        passed = [(key.lower(), value) for key, value in given if key.lower() not in _NOT_PASSED]
        said = {key for key, _ in passed}
        passed += [(key, value) for key, value in self._known.headers.items() if key not in said]
        return [*passed, *key_headers(self._known, self._key).items()]

    async def close(self) -> None:
        await self._client.close()


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name; those that were said several times in one, by commas (RFC 9110, 5.3). Pure."""
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
