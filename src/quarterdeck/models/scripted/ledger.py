"""What the scripted server was asked and what a provider would have charged for it.

Rules
- A stream that was cut, by a fault or by the client, is billed for its prompt and for the output sent until then.
- An error response, a reset and a hang are not billed: no output was begun.
- The list of requests is bounded; the sums are not lost when old requests fall off it.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from quarterdeck.kernel import prices
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import Usage
from quarterdeck.models.scripted.faults import Kind
from quarterdeck.models.scripted.heard import Format

_PROVIDERS: Final = {
    Format.MESSAGES: "anthropic",
    Format.RESPONSES: "openai",
    Format.CHAT: "chat",
    Format.OLLAMA: "ollama",
    Format.GEMINI: "google",
}


class End(StrEnum):
    FINISHED = "finished"
    FAULTED = "faulted"
    """Ended by a fault of ours."""
    ABORTED = "aborted"
    """Ended by the client."""
    REFUSED = "refused"
    """Not understood: no such path, scenario or tool."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that was answered, or not."""

    scenario: str
    format: Format
    model: str
    tag: str
    rule: str
    step: int
    attempt: int
    """How often this place of the conversation was asked before, plus one."""
    fault: Kind | None
    status: int
    """0 = no status was sent."""
    end: End
    usage: Usage
    stop: str = ""
    window: int | None = None
    """The context window that the client set with this request."""
    why: str = ""
    at: float = 0.0
    """When it came, by the server's clock, seconds."""
    role: str = ""
    """Who spoke last in the prompt."""
    last: str = ""
    """The end of what was spoken last."""
    size: int = 0
    """Characters of the prompt."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a provider would have charged."""

    usage: Usage = field(default_factory=Usage)
    nusd: int = 0
    requests: int = 0
    unpriced: int = 0
    """Requests of models without a price, which are not in `nusd`."""


class Ledger:
    """Counts requests and money. Not thread-safe: it belongs to the server's event loop."""

    def __init__(self, keep: int = 10_000) -> None:
        self.requests: deque[Asked] = deque(maxlen=keep)
        self._bills: dict[tuple[str, str], Bill] = {}
        self._begun = 0
        self._ended = 0
        self._moved = asyncio.Condition()

    @property
    def begun(self) -> int:
        """Requests that have arrived."""
        return self._begun

    @property
    def ended(self) -> int:
        """Requests that are over."""
        return self._ended

    @property
    def billed(self) -> Mapping[tuple[str, str], Bill]:
        """By model and tag."""
        return dict(self._bills)

    @property
    def total(self) -> Bill:
        """Everything together."""
        bills = self._bills.values()
        return Bill(
            usage=sum((bill.usage for bill in bills), Usage()),
            nusd=sum(bill.nusd for bill in bills),
            requests=sum(bill.requests for bill in bills),
            unpriced=sum(bill.unpriced for bill in bills),
        )

    async def arrive(self) -> None:
        """A request has arrived."""
        async with self._moved:
            self._begun += 1
            self._moved.notify_all()

    async def close(self, asked: Asked, priced: Mapping[str, Price]) -> None:
        """A request is over."""
        self.requests.append(asked)
        if asked.usage != Usage():
            price = priced.get(asked.model) or prices.price_of(f"{_PROVIDERS[asked.format]}:{asked.model}", priced)
            old = self._bills.get((asked.model, asked.tag), Bill())
            self._bills[asked.model, asked.tag] = Bill(
                usage=old.usage + asked.usage,
                nusd=old.nusd + (prices.cost(asked.usage, price) if price is not None else 0),
                requests=old.requests + 1,
                unpriced=old.unpriced + (price is None),
            )
        async with self._moved:
            self._ended += 1
            self._moved.notify_all()

    async def until(self, *, begun: int = 0, ended: int = 0) -> None:
        """Wait until so many requests have arrived, and so many are over."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._begun >= begun and self._ended >= ended)
