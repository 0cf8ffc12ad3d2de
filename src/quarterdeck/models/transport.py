"""A provider's HTTP interface as a `Transport`: bodies out as JSON, the stream's events in, whatever frames them.

Rules
- What is no JSON, or broke off, is a failure of the provider; half an event at the end of a stream is none.
- After `[DONE]` nothing is read any more, but the rest is waited for shortly: so that the connection is used again.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, Protocol

from quarterdeck.kernel.failures import ModelFailed
from quarterdeck.models import connection, documents
from quarterdeck.models.sse import Events
from quarterdeck.models.upstream import Answer, Upstream

TAG: Final = "x-quarterdeck-tag"
_DONE: Final = b"[DONE]"
_DRAIN: Final = 1.0
"""Seconds."""


class Frames(Protocol):
    """What divides a stream into documents of JSON."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Those that are whole now; empty ones say nothing."""
        ...

    def end(self) -> list[bytes]:
        """Those that the end of the stream makes whole."""
        ...


class SentEvents:
    """The data of server-sent events."""

    def __init__(self) -> None:
        self._events = Events()

    def feed(self, chunk: bytes) -> list[bytes]:
        return [sent.data for sent in self._events.feed(chunk)]

    def end(self) -> list[bytes]:
        return []


class HttpTransport:
    """One provider's server, shared by all its models."""

    def __init__(
        self,
        upstream: Upstream,
        place: Callable[[str, dict[str, Any]], tuple[str, dict[str, Any]]],
        window: Callable[[Upstream, str], Awaitable[int | None]],
        frames: Callable[[], Frames] = SentEvents,
    ) -> None:
        """`place`: path and body of a request, by its wire format and its body; `window`: asks the server for that of
        a model."""
        self.upstream = upstream
        self._place = place
        self._window = window
        self._frames = frames

    @property
    def key(self) -> str | None:
        return self.upstream.key

    async def events(self, wire: str, body: dict[str, Any], tag: str) -> AsyncGenerator[dict[str, Any]]:
        name = f"{self.upstream.provider}:{body['model']}"
        path, sent = self._place(wire, body)
        headers = [("content-type", "application/json"), *([(TAG, tag)] if tag else [])]
        try:
            async with (
                self.upstream.exchange(name, "POST", path, encoded(sent), headers) as answer,
                aclosing(self._documents(name, answer)) as found,
            ):
                async for document in found:
                    yield documents.read(document)
        except (ValueError, RecursionError) as error:
            raise connection.broken(name, self.upstream.address, error) from error

    async def _documents(self, name: str, answer: Answer) -> AsyncGenerator[bytes]:
        if answer.status != 200:
            raise await answer.refusal()
        frames = self._frames()
        async with aclosing(answer.chunks(plain=True)) as chunks:
            async for chunk in chunks:
                for document in frames.feed(chunk):
                    if document.startswith(_DONE):
                        await _drained(chunks)
                        return
                    if document.strip():
                        yield document
        for document in frames.end():
            if document.strip():
                yield document

    async def window(self, model: str) -> int | None:
        return await self._window(self.upstream, model)

    async def reload_key(self, used: str | None) -> None:
        await self.upstream.reload_key(used)

    async def close(self) -> None:
        await self.upstream.close()


async def _drained(chunks: AsyncGenerator[bytes]) -> None:
    try:
        async with asyncio.timeout(_DRAIN):
            async for _ in chunks:
                continue
    except (TimeoutError, ModelFailed):
        return  # everything that was said has arrived; the connection is not used again, that is all


def encoded(body: dict[str, Any]) -> bytes:
    """As JSON, small. Raises ValueError."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
