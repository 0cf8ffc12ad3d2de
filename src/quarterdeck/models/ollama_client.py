"""Ollama's own HTTP interface: lines of JSON, and what window a model can have."""

import re
from dataclasses import replace
from typing import Any, Final

from quarterdeck.models import ollama_chat, windows
from quarterdeck.models.providers import Way
from quarterdeck.models.streaming import Dialect
from quarterdeck.models.transport import HttpTransport, encoded
from quarterdeck.models.upstream import Upstream

_LONGEST: Final = 32 * 1024 * 1024
"""Bytes of one line."""

_DIALECT: Final = Dialect(
    wire="ollama",
    body=ollama_chat.body,
    fold=lambda name, request: ollama_chat.OllamaFold(name, len(request.messages)),
    sets_window=True,
)


def connect(way: Way) -> tuple[HttpTransport, Dialect]:
    """A connection and how it is spoken to."""
    # The address of the OpenAI-compatible interface is what people have at hand.
    root = way.base_url.rstrip("/").removesuffix("/v1") if way.base_url is not None else None
    return HttpTransport(Upstream(replace(way, base_url=root)), _place, _window, Lines), _DIALECT


def _place(wire: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "/api/chat", body


class Lines:
    """A stream of lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole now. Raises ValueError where one is longer than it may be."""
        self._rest += chunk
        if b"\n" not in chunk:
            if len(self._rest) > _LONGEST:
                raise ValueError(f"a line is longer than {_LONGEST} bytes")
            return []
        *whole, self._rest = self._rest.split(b"\n")
        return [bytes(line) for line in whole]

    def end(self) -> list[bytes]:
        """What came without an end of line."""
        return [bytes(self._rest)]


async def _window(upstream: Upstream, model: str) -> int | None:
    headers = (("content-type", "application/json"),)
    body = encoded({"model": model})
    async with upstream.exchange(f"ollama:{model}", "POST", "/api/show", body, headers) as answer:
        if answer.status != 200:
            raise await answer.refusal()
        shown = await answer.facts()
    info = shown.get("model_info") or {}
    maximum = info.get(f"{info.get('general.architecture')}.context_length")
    set_to = re.search(r"^num_ctx\s+(\d+)", shown.get("parameters") or "", re.MULTILINE)
    return windows.of_ollama(maximum, int(set_to[1]) if set_to else None)
