"""What a server answered, as a result for an agent. Pure.

Rules
- Text stays text; structured content that the text does not already hold is added as JSON. Images, sound and other
  binary content are named and left out.
- Bounded and printable, like any result. Values that the server was given in secret are taken out, should it say them.
- That a tool says it failed is its answer, not a failure of the server.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from quarterdeck.tools.bounds import bounded, readable
from quarterdeck.tools.port import ToolResult

MAX_PARTS: Final = 200
_SHORTEST_SECRET: Final = 6
"""Characters: a shorter one stands in too many texts by chance."""


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of an answer."""

    kind: Literal["text", "image", "audio", "resource", "link"]
    text: str = ""
    mime: str = ""
    uri: str = ""
    size: int = 0
    """Bytes of binary content as it came over the wire."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one call."""

    parts: tuple[Part, ...] = ()
    structured: Any = None
    error: bool = False

    @classmethod
    def refusal(cls, text: str) -> "Answer":
        """That it did not work, in words of ours."""
        return cls((Part("text", text),), error=True)


def result_of(answer: Answer, limit: int, secrets: Mapping[str, str]) -> ToolResult:
    """The answer as a result of at most `limit` bytes. `secrets`: name of a variable to its value."""
    flags: list[str] = []
    texts = [_said(part) for part in answer.parts[:MAX_PARTS]]
    if any(part.kind in ("image", "audio") or (part.kind == "resource" and part.size) for part in answer.parts):
        flags.append("binary-left-out")
    if len(answer.parts) > MAX_PARTS:
        texts.append(f"[{len(answer.parts) - MAX_PARTS} more parts were left out]")
    if answer.structured is not None and not _holds(answer.parts, answer.structured):
        texts.append(_json(answer.structured))
    whole = hidden(readable("\n".join(texts)).strip(), secrets)
    text, cut = bounded(whole, limit)
    if cut:
        flags.append("truncated")
    if not text:
        text = "(it failed and says nothing)" if answer.error else "(it says nothing)"
    return ToolResult(text, ok=not answer.error, flags=tuple(flags))


def hidden(text: str, secrets: Mapping[str, str]) -> str:
    """The text without the values of these variables."""
    for name, value in sorted(secrets.items(), key=lambda item: -len(item[1])):
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, f"[{name}]")
    return text


def _said(part: Part) -> str:
    match part.kind:
        case "text":
            return part.text
        case "link":
            return f"[link to {part.uri}{': ' + part.text if part.text else ''}]"
        case "resource" if not part.size:
            return f"[{part.uri}]\n{part.text}"
        case _:
            what = "binary content" if part.kind == "resource" else part.kind
            place = f" {part.uri}" if part.uri else ""
            return f"[{what}{place}{', ' + part.mime if part.mime else ''}: {part.size} bytes, left out]"


def _holds(parts: Iterable[Part], structured: Any) -> bool:
    """Whether a text is that content as JSON already: servers send both for older clients."""
    for part in parts:
        if part.kind == "text" and part.text[:1] in '{["0123456789-tfn':
            try:
                if json.loads(part.text) == structured:
                    return True
            except (ValueError, RecursionError):
                continue
    return False


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=1)
    except (ValueError, RecursionError):
        return "[structured content that cannot be written as JSON]"
