"""Google's interface: where a request goes, and how its models' windows are asked for."""

from typing import Any, Final
from urllib.parse import quote

from quarterdeck.models import gemini_generate
from quarterdeck.models.providers import Way
from quarterdeck.models.streaming import Dialect
from quarterdeck.models.transport import HttpTransport
from quarterdeck.models.upstream import Upstream

_DIALECT: Final = Dialect(
    wire="gemini",
    body=lambda request, model, window: gemini_generate.body(request, model),
    fold=lambda name, request: gemini_generate.GeminiFold(name, len(request.messages)),
)


def connect(way: Way) -> tuple[HttpTransport, Dialect]:
    """A connection and how it is spoken to."""
    return HttpTransport(Upstream(way), _place, _window), _DIALECT


def _place(wire: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    sent = {key: value for key, value in body.items() if key != "model"}
    return f"/v1beta/models/{quote(body['model'], safe='')}:streamGenerateContent?alt=sse", sent


async def _window(upstream: Upstream, model: str) -> int | None:
    async with upstream.exchange(f"google:{model}", "GET", f"/v1beta/models/{quote(model, safe='')}") as answer:
        if answer.status != 200:
            raise await answer.refusal()
        window = (await answer.facts()).get("inputTokenLimit")
    return window if isinstance(window, int) else None
