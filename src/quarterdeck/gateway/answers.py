"""What a client is answered: the head of a provider's answer, a refusal of ours, or the provider's own.

Rules
- Headers that hold for one connection only, or for somebody else, do not pass.
- What is not worth trying again at once says so.
- Nobody is sent on to another server: a client would follow, and show it the virtual key. That, and what only the
  deck's configuration can mend, is told in a sentence of ours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from quarterdeck.gateway import refusals
from quarterdeck.gateway.wires import Asked
from quarterdeck.kernel.failures import FailureClass, ModelFailed, QuarterdeckError

_KEPT_BACK: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "trailer", "upgrade", "set-cookie"}
)
"""Headers of an answer that hold for one connection only, or for somebody else."""


class Client(Protocol):
    """Who asked."""

    @property
    def begun(self) -> bool:
        """Whether it has got anything."""
        ...

    @property
    def at_once(self) -> Callable[[bytes], bool] | None:
        """Sends a part of the body without waiting, once a part was sent by `body`; says whether the next can go so as
        well. None = there is no such way to this client."""
        ...

    async def head(self, status: int, headers: Iterable[tuple[str, str]]) -> None: ...

    async def body(self, data: bytes) -> None: ...

    async def end(self, data: bytes = b"") -> None:
        """The answer is complete, with this as its last part."""
        ...


@dataclass(frozen=True, slots=True)
class Tried:
    """A try of which nothing has reached the client."""

    failure: ModelFailed
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    """The provider's own answer; status 0 = there was none."""


def passed(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in _KEPT_BACK]


async def refuse(client: Client, asked: Asked, sentence: str, code: str) -> None:
    said = refusals.refusal(asked.wire, sentence, code)
    await client.head(said.status, said.headers)
    await client.end(said.body)


async def pass_on(client: Client, asked: Asked, tried: Tried) -> None:
    """The provider's own answer, or ours where there was none. Raises ConnectionAbortedError where the client has
    a part of another one: it must see that as broken."""
    if client.begun:
        raise ConnectionAbortedError(str(tried.failure)) from tried.failure
    if tried.status and _ours_to_tell(tried):
        return await refuse(client, asked, misconfigured(tried.failure), "not_configured")
    if tried.status:
        headers = [pair for pair in tried.headers if pair[0] != "x-should-retry"]
        await client.head(tried.status, [*headers, ("x-should-retry", "false")])
        await client.end(tried.body)
        return None
    said = refusals.refusal(asked.wire, f"Quarterdeck: {tried.failure}", "unreachable", 502)
    await client.head(said.status, said.headers)
    return await client.end(said.body)


def _ours_to_tell(tried: Tried) -> bool:
    """A redirect, or a key that is wanted where none is set: what the provider says of either helps no client."""
    unkeyed = tried.status in (401, 403) and tried.failure.kind is FailureClass.CONFIGURATION
    return 300 <= tried.status < 400 or unkeyed


def misconfigured(error: QuarterdeckError) -> str:
    """What only the deck's configuration can mend, as a sentence."""
    return f"Quarterdeck: {error}{f' ({error.fix})' if error.fix else ''}"
