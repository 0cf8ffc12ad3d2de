"""Anthropic's interface: where a request goes, and how its models' windows are asked for."""

from typing import Any, Final
from urllib.parse import quote

from quarterdeck.models import anthropic_messages
from quarterdeck.models.providers import Way
from quarterdeck.models.streaming import Dialect
from quarterdeck.models.transport import HttpTransport
from quarterdeck.models.upstream import Upstream

_DIALECT: Final = Dialect(
    wire="messages",
    body=lambda request, model, window: anthropic_messages.body(request, model),
    fold=lambda name, request: anthropic_messages.MessagesFold(name),
)


def connect(way: Way) -> tuple[HttpTransport, Dialect]:
    """A connection and how it is spoken to."""
    return HttpTransport(Upstream(way), _place, _window), _DIALECT


def _place(wire: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "/v1/messages", {**body, "stream": True}


async def _window(upstream: Upstream, model: str) -> int | None:
    async with upstream.exchange(f"anthropic:{model}", "GET", f"/v1/models/{quote(model, safe='')}") as answer:
        if answer.status != 200:
            raise await answer.refusal()
        window = (await answer.facts()).get("max_input_tokens")
    return window if isinstance(window, int) else None
