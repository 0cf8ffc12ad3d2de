"""OpenAI's interface and that of the servers like it: two formats, and how a local server's window is asked for."""

from typing import Any, Final
from urllib.parse import urlsplit

from quarterdeck.models import openai_chat, openai_responses
from quarterdeck.models.providers import Way
from quarterdeck.models.streaming import Dialect
from quarterdeck.models.transport import HttpTransport
from quarterdeck.models.upstream import Upstream

_PATHS: Final = {"chat": "/chat/completions", "responses": "/responses"}
"""By wire format."""


def _chat(hosted: bool) -> Dialect:
    return Dialect(
        wire="chat",
        body=lambda request, model, window: openai_chat.body(request, model, hosted=hosted),
        fold=lambda name, request: openai_chat.ChatFold(name, len(request.messages)),
    )


_RESPONSES: Final = Dialect(
    wire="responses",
    body=lambda request, model, window: openai_responses.body(request, model),
    fold=lambda name, request: openai_responses.ResponsesFold(name),
)


def dialect(provider: str, base_url: str | None) -> Dialect:
    """The format that `provider` (`openai` or `chat`) is spoken to in."""
    if provider == "openai":
        return _RESPONSES
    host = urlsplit(base_url or "https://api.openai.com").hostname or ""
    return _chat(hosted=host == "openai.com" or host.endswith(".openai.com"))


def connect(way: Way) -> tuple[HttpTransport, Dialect]:
    """A connection and how it is spoken to."""
    upstream = Upstream(way)
    return HttpTransport(upstream, _place, _window), dialect(way.provider, way.base_url)


def _place(wire: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return _PATHS[wire], {**body, "stream": True}


async def _window(upstream: Upstream, model: str) -> int | None:
    async with upstream.exchange(f"{upstream.provider}:{model}", "GET", "/models") as answer:
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise await answer.refusal()
        listed = (await answer.facts()).get("data")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and entry.get("id") == model:
            window = entry.get("max_model_len")
            return window if isinstance(window, int) else None
    return None
