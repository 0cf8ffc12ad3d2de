"""What lies in a request and is no text: pictures, documents, sound. Pure.

Rules
- Only where a format has room for such a thing: what stands in a tool's arguments or in a text is text, whatever it is
  called there.
- What it is, its own first bytes say; what a request calls it counts only where they say nothing.
- How large it is (pixels, pages, seconds) is read from its header. What cannot be read is not guessed: 0.
- A file of text is text.
Sources: the API references of platform.claude.com, developers.openai.com and ai.google.dev.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from quarterdeck.gateway import bodies, pages, pictures, sounds
from quarterdeck.gateway.wires import Wire

MOST: Final = 4_000
"""Pieces of one request, more than any provider takes."""

_ALPHABET: Final = str.maketrans("-_", "+/")
_HEADER: Final = 256 * 1024
"""Bytes of a picture in which its size stands."""


@dataclass(frozen=True, slots=True)
class Picture:
    size: int
    """Characters that it takes in the request, of all pieces here."""
    width: int = 0
    """Pixels; 0 = not known."""
    height: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    size: int
    pages: int = 0
    """0 = not known."""


@dataclass(frozen=True, slots=True)
class Sound:
    size: int
    seconds: float = 0.0
    """At most; 0 = not known."""


@dataclass(frozen=True, slots=True)
class Other:
    """A film, a table, or whatever it is."""

    size: int


Piece = Picture | Document | Sound | Other


def pieces(wire: Wire, body: Mapping[str, Any]) -> tuple[Piece, ...]:
    """All of them, in any order."""
    found: list[Piece] = []
    for data, mime in _data(wire, body):
        if len(found) >= MOST:
            return (*found, Other(0))
        if (piece := _piece(data, mime)) is not None:
            found.append(piece)
    return tuple(found)


def _piece(data: str, mime: str) -> Piece | None:
    """What it is; None where it is text."""
    size, start = len(data), _decoded(data, 32)
    if start.startswith(b"%PDF"):
        return Document(size, pages.count(_decoded(data)))
    if sounds.known(start):
        return Sound(size, sounds.seconds(_decoded(data)))
    if pictures.known(start) or mime.startswith("image/"):
        return Picture(size, *pictures.extent(_decoded(data, _HEADER)))
    return None if mime.startswith("text/") else Other(size)


def _decoded(data: str, most: int | None = None) -> bytes:
    """The bytes, or their beginning; none where they cannot be read. In either alphabet, with or without its end: as
    leniently as a provider might read it, and never otherwise than it does."""
    part = "".join((data if most is None else data[: most // 3 * 4]).split()).translate(_ALPHABET)
    part = part.rstrip("=") if most is None else part[: len(part) // 4 * 4]
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), validate=True)
    except ValueError:  # of which binascii.Error is one
        return b""


def _data(wire: Wire, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(base64, media type) of each."""
    left = _parts(wire, body)
    while left:
        part = bodies.mapping(left.pop())
        left += _nested(wire, part)
        match wire:
            case Wire.MESSAGES:
                source = bodies.mapping(part.get("source"))
                if part.get("type") in ("image", "document") and source.get("type") == "base64":
                    yield _text(source.get("data")), _text(source.get("media_type"))
            case Wire.GEMINI:
                blob = bodies.mapping(part.get("inlineData") or part.get("inline_data"))
                if blob:
                    yield _text(blob.get("data")), _text(blob.get("mimeType") or blob.get("mime_type"))
            case _:
                yield from _openai(part)


def _openai(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of a part of a request in either of OpenAI's formats."""
    match part.get("type"):
        case "input_image" | "computer_screenshot":
            yield from _url(part.get("image_url"), "image/")
        case "image_url" | "video_url" | "audio_url" as kind:
            yield from _url(bodies.mapping(part.get(kind)).get("url") or part.get(kind), f"{kind.partition('_')[0]}/")
        case "input_file":
            yield from _file(part.get("file_data"))
        case "file":
            yield from _file(bodies.mapping(part.get("file")).get("file_data"))
        case "input_audio":
            said = bodies.mapping(part.get("input_audio")) or part
            yield _text(said.get("data")), f"audio/{_text(said.get('format'))}"
        case _:
            return


def _url(found: Any, mime: str) -> Iterator[tuple[str, str]]:
    if not _text(found).startswith("data:"):
        return
    head, _, data = _text(found).partition(",")
    named = head.removeprefix("data:").partition(";")[0].lower() or mime
    # One that is not base64 is nobody's picture yet; its letters count as text besides.
    yield (data, named) if head.endswith(";base64") else ("", mime)


def _file(found: Any) -> Iterator[tuple[str, str]]:
    if _text(found).startswith("data:"):
        yield from _url(found, "")
    elif found:
        yield _text(found), ""


def _text(found: Any) -> str:
    return found if isinstance(found, str) else ""


def _parts(wire: Wire, body: Mapping[str, Any]) -> list[Any]:
    """The parts of what is said, as they stand in the request."""
    match wire:
        case Wire.GEMINI:
            system = body.get("systemInstruction") or body.get("system_instruction")
            said = [*bodies.listed(body.get("contents")), *bodies.listed(system)]
            return [part for one in said for part in bodies.listed(bodies.mapping(one).get("parts"))]
        case Wire.RESPONSES:
            items = [bodies.mapping(item) for item in bodies.listed(body.get("input"))]
            return [part for item in items for key in ("content", "output") for part in bodies.listed(item.get(key))]
        case _:
            messages = [bodies.mapping(message) for message in bodies.listed(body.get("messages"))]
            return [part for message in messages for part in bodies.listed(message.get("content"))]


def _nested(wire: Wire, part: Mapping[str, Any]) -> list[Any]:
    """Parts that a part holds."""
    if wire is Wire.MESSAGES:
        held = part.get("content") if part.get("type") == "tool_result" else None
        return [*bodies.listed(held), *bodies.listed(bodies.mapping(part.get("source")).get("content"))]
    if wire is Wire.GEMINI:
        answer = bodies.mapping(part.get("functionResponse") or part.get("function_response"))
        return bodies.listed(answer.get("parts"))
    return []
