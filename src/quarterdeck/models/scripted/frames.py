"""A streamed answer as a list of frames, and the faults that disturb one. Pure.

Rules
- A frame is what a provider sends at once; it knows how many characters of output it carries, for time and money.
- From the frame that carries the stop reason on, frames are `final`: a cut stream never contains one; one whose last
  event is missing may.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.heard import Format

_PIECE: Final = 32


@dataclass(frozen=True, slots=True)
class Frame:
    data: bytes
    output: int = 0
    """Characters of output in it."""
    final: bool = False


def sse(data: dict[str, Any], event: str = "", output: int = 0, final: bool = False) -> Frame:
    """A server-sent event."""
    head = f"event: {event}\n" if event else ""
    return Frame(f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode(), output, final)


def line(data: dict[str, Any], output: int = 0, final: bool = False) -> Frame:
    """A line of newline-delimited JSON."""
    return Frame(json.dumps(data, ensure_ascii=False).encode() + b"\n", output, final)


def pieces(text: str) -> list[str]:
    """`text` in the pieces in which it is streamed; an empty text is one empty piece."""
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)] or [""]


_OVERLOADED: Final[dict[Format, Frame]] = {
    Format.MESSAGES: sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error"),
    Format.RESPONSES: sse(
        {
            "type": "error",
            "code": "server_is_overloaded",
            "message": "The server is overloaded.",
            "param": None,
            "sequence_number": 99,
        },
        "error",
    ),
    Format.CHAT: sse(
        {
            "error": {
                "message": "The server is overloaded.",
                "type": "service_unavailable_error",
                "param": None,
                "code": "server_is_overloaded",
            }
        }
    ),
    Format.GEMINI: sse({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}),
    Format.OLLAMA: line({"error": "server busy, please try again.  maximum pending requests exceeded"}),
}


def strange(wire: Format) -> list[Frame]:
    """Frames that a client has to pass over."""
    if wire is Format.OLLAMA:
        return [line({"type": "something_new", "message": {"role": "assistant", "content": ""}, "done": False})]
    if wire is Format.CHAT:
        chunk: dict[str, Any] = {"id": "x", "object": "something.new", "created": 0, "model": "x", "choices": []}
        return [Frame(b": keep-alive\n\n"), sse(chunk)]
    if wire is Format.GEMINI:
        return [Frame(b": keep-alive\n\n"), sse({"candidates": [], "somethingNew": {"a": [1, 2]}})]
    new = sse({"type": "something_new", "sequence_number": 0, "payload": {"a": [1, 2]}}, "something_new")
    return [Frame(b": keep-alive\n\n"), sse({"type": "ping"}, "ping"), new]


def disturb(frames: list[Frame], fault: Fault | None, wire: Format) -> list[Frame]:
    """The frames that are really sent."""
    if fault is None:
        return frames
    before_end = next((index for index, frame in enumerate(frames) if frame.final), len(frames))
    at = min(fault.after, before_end)
    if fault.kind is Kind.CUT:
        return frames[:at]
    if fault.kind is Kind.LAST_MISSING:
        return frames[:-1]
    if fault.kind is Kind.OVERLOADED_MIDSTREAM:
        return [*frames[:at], _OVERLOADED[wire]]
    if fault.kind is Kind.STRANGE_EVENTS:
        return [*strange(wire), *frames[:at], *strange(wire), *frames[at:]]
    return frames
