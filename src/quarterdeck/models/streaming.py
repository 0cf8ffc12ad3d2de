"""One model over one transport: asks once, keeps the deadlines, and tells a reply from what is none.

Rules
- Every call is streamed, so that silence is noticed: nothing at first, nothing for a while, and all of it too long are
  three deadlines. A keep-alive counts as a sign of life, a single byte does not.
- Nothing is retried here. After a 401 the key is read again, and the failure says whether there is a new one: trying
  the same key again would be blind.
- A call that is cancelled closes its connection before the cancellation goes on.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from quarterdeck.kernel.failures import FailureClass, ModelFailed
from quarterdeck.models import reply, sound, windows
from quarterdeck.models.pace import Pace
from quarterdeck.models.port import Deadlines, Reply, Request
from quarterdeck.models.reply import Draft, Fold

if TYPE_CHECKING:  # it brings the HTTP client, which is loaded when the first model is made
    from quarterdeck.models.upstream import Upstream


class Transport(Protocol):
    """A provider's connection, shared by all its models."""

    def events(self, wire: str, body: dict[str, Any], tag: str) -> AsyncGenerator[dict[str, Any]]:
        """Send `body` in the format `wire` and yield the stream's events. Raises ModelFailed."""
        ...

    async def window(self, model: str) -> int | None:
        """What the server says about a model's context window, in tokens. Raises ModelFailed."""
        ...

    async def reload_key(self, used: str | None) -> None:
        """Read the key again, unless it is no longer the one that was `used`."""
        ...

    @property
    def upstream(self) -> "Upstream":
        """The way to its server."""
        ...

    @property
    def key(self) -> str | None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one wire format is spoken."""

    wire: str
    body: Callable[[Request, str, int], dict[str, Any]]
    """Body of a request, for a model and a context window (0 where the format has no use for it)."""
    fold: Callable[[str, Request], Fold]
    sets_window: bool = False
    """The window goes out with every request."""


class StreamingModel:
    """A `Model` made of a transport and a dialect."""

    def __init__(
        self, name: str, transport: Transport, dialect: Dialect, deadlines: Deadlines, configured: int | None = None
    ) -> None:
        self._name = name
        self._provider, _, self._model = name.partition(":")
        self._transport = transport
        self._dialect = dialect
        self._deadlines = deadlines
        self._window = configured
        self._asking = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._name

    async def window(self) -> int:
        async with self._asking:
            if self._window is None:
                self._window = windows.known(self._provider, self._model) or await self._ask()
            return self._window

    async def _ask(self) -> int:
        try:
            async with asyncio.timeout(self._deadlines.first_byte):
                window = await self._transport.window(self._model)
        except TimeoutError as error:
            why = f"it did not say its context window within {self._deadlines.first_byte:g} s"
            raise ModelFailed(f"{self._name} is silent", FailureClass.TRANSIENT, why=why) from error
        if window is None:
            raise windows.unknown(self._name)
        return window

    async def complete(self, request: Request) -> Reply:
        window = await self.window() if self._dialect.sets_window else 0
        body = self._dialect.body(request, self._model, window)
        fold = self._dialect.fold(self._name, request)
        key = self._transport.key
        try:
            async with (
                aclosing(self._transport.events(self._dialect.wire, body, request.tag)) as events,
                aclosing(paced(events, self._deadlines, self._name)) as in_time,
            ):
                async for event in in_time:
                    _take(fold, event, self._name)
        except ModelFailed as failure:
            _charge(failure, request, fold)
            if failure.kind is FailureClass.AUTH:
                await self._transport.reload_key(key)
                failure.renewed = self._transport.key != key
            raise
        return reply.conclude(self._name, request, _draft(fold, self._name))

    async def close(self) -> None:
        """Nothing of its own to close: the transport belongs to the factory."""


_NONSENSE: Final = (KeyError, TypeError, AttributeError, ValueError, RecursionError)
"""What reading an event raises that is not what the provider documents."""


def _take(fold: Fold, event: dict[str, Any], name: str) -> None:
    try:
        fold.add(event)
    except _NONSENSE as error:
        raise _nonsense(name, error) from error


def _draft(fold: Fold, name: str) -> Draft:
    try:
        return fold.draft()
    except _NONSENSE as error:
        raise _nonsense(name, error) from error


def _nonsense(name: str, error: Exception) -> ModelFailed:
    why = f"an event of the stream is not understood: {error!r}"
    return ModelFailed(f"{name} failed", FailureClass.TRANSIENT, billed=True, why=why)


def _charge(failure: ModelFailed, request: Request, fold: Fold) -> None:
    """Say what a call that failed on its way was charged, as far as that can be known."""
    try:
        draft = fold.draft()
    except _NONSENSE:  # its parts are nonsense; that something came is certain
        draft = Draft(begun=True)
    if draft.begun:
        failure.billed = True
        counted = sound.usage(draft.usage)
        failure.usage = counted or reply.guess(request)
        failure.estimated = counted is None


async def paced(
    events: AsyncGenerator[dict[str, Any]], deadlines: Deadlines, name: str
) -> AsyncGenerator[dict[str, Any]]:
    """`events` under the deadlines. Raises ModelFailed where one passes."""
    pace = Pace(deadlines, name)
    while True:
        try:
            event = await pace.wait(anext(events))
        except StopAsyncIteration:
            return
        yield event
