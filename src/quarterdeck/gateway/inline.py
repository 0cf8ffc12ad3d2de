"""What lies in a request and is no text: pictures, documents, sound. Pure.

Rules
- Only where a format has room for such a thing: what stands in a tool's arguments or in a text is text, whatever it is
  called there.
- What it is, its media type and its own first bytes say together: a provider may go by either. Where they agree, or its
  bytes say nothing, it is that. What is called text, or nothing at all, and begins like something else counts as both.
  Where they contradict each other, nobody knows what it is.
- How large it is (pixels, pages, seconds) is read from its header. What cannot be read is not guessed: 0.
- A file of text is text.
- What is looked through is paid for out of an allowance. Where that is spent, nobody knows what the rest is.
Sources: the API references of platform.claude.com, developers.openai.com and ai.google.dev.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from quarterdeck.gateway import bodies, pages, pictures, sounds
from quarterdeck.gateway.allowance import Allowance, Spent
from quarterdeck.gateway.wires import Wire

MOST: Final = 4_000
"""Pieces of one request, more than any provider takes."""
AT_ONCE: Final = 1024 * 1024
"""Bytes that are looked through in about ten milliseconds, mostly fewer."""

_ANY: Final = 8 * 1024 * 1024
_EACH: Final = 8
"""Bytes that are looked through of any request, and for each of its own: a document is looked through several times,
and holds more than it has."""
_PART: Final = 128
"""Bytes that could be looked through in the time that a part takes which holds nothing."""
_FOUND: Final = 1_500
"""The same for one that holds something, however little."""

_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")
_PIECE: Final = 256 * 1024
"""Characters that are decoded in one go: other threads wait that long."""
_SPACE: Final = b" \t\r\n\f\v"
_HEADER: Final = 256 * 1024
"""Bytes of a picture in which its size stands."""


@dataclass(frozen=True, slots=True)
class Picture:
    size: int
    """Characters that it takes in the request, of all pieces here."""
    width: int = 0
    """Pixels; 0 = not known."""
    height: int = 0
    text: bool = False
    """Whether it may be text all the same, also below: then its characters count besides."""


@dataclass(frozen=True, slots=True)
class Document:
    size: int
    pages: int = 0
    """0 = not known."""
    text: bool = False


@dataclass(frozen=True, slots=True)
class Sound:
    size: int
    seconds: float = 0.0
    """At most; 0 = not known."""
    text: bool = False


@dataclass(frozen=True, slots=True)
class Other:
    """A film, a table, or whatever it is."""

    size: int


Piece = Picture | Document | Sound | Other


class _Kind(StrEnum):
    """What something may be."""

    PICTURE = "image"
    SOUND = "audio"
    DOCUMENT = "pdf"
    TEXT = "text"
    OTHER = "other"
    UNKNOWN = ""


_CALLED: Final = (
    (re.compile(r"image/.*"), _Kind.PICTURE),
    (re.compile(r"audio/.*"), _Kind.SOUND),
    (re.compile(r"application/pdf"), _Kind.DOCUMENT),
    (re.compile(r"text/.*"), _Kind.TEXT),
    (re.compile(r"|application/octet-stream"), _Kind.UNKNOWN),
)


def allowance(size: int) -> Allowance:
    """What may be looked through of a request of so many bytes."""
    return Allowance(_ANY + _EACH * size)


def pieces(wire: Wire, body: Mapping[str, Any], may: Allowance) -> tuple[Piece, ...]:
    """All of them, in any order. `may` is spent afterwards where it was not enough."""
    found: list[Piece] = []
    try:
        for data, mime in _data(wire, body, may):
            if len(found) >= MOST:
                return (*found, Other(0))
            may.take(_FOUND)
            if (piece := _piece(data, mime, may)) is not None:
                found.append(piece)
    except Spent:
        return (*found, Other(0))
    return tuple(found)


def _piece(data: str, mime: str, may: Allowance) -> Piece | None:
    """What it is; None where it is text. Raises Spent."""
    size, start = len(data), _decoded(data, 32)
    shown, called = _shown(start), _called(mime)
    if shown is _Kind.UNKNOWN:
        if called is _Kind.TEXT:
            return None
        shown = called if called in (_Kind.PICTURE, _Kind.SOUND) else _Kind.OTHER
    if called not in (shown, _Kind.TEXT, _Kind.UNKNOWN):
        return Other(size)
    text = called is not shown or "+" in mime  # a picture that is written in XML
    match shown:
        case _Kind.DOCUMENT:
            may.take(size)
            return Document(size, pages.count(_decoded(data), may), text)
        case _Kind.SOUND:
            may.take(size)
            return Sound(size, sounds.seconds(_decoded(data), may), text)
        case _Kind.PICTURE:
            may.take(min(size, _HEADER))
            return Picture(size, *pictures.extent(_decoded(data, _HEADER), may), text)
        case _:
            return Other(size)


def _shown(start: bytes) -> _Kind:
    """What its first bytes say."""
    if start.startswith(b"%PDF"):
        return _Kind.DOCUMENT
    if sounds.known(start):
        return _Kind.SOUND
    return _Kind.PICTURE if pictures.known(start) else _Kind.UNKNOWN


def _called(mime: str) -> _Kind:
    """What the request calls it."""
    name = mime.partition(";")[0].strip().lower()
    return next((kind for pattern, kind in _CALLED if pattern.fullmatch(name)), _Kind.OTHER)


def _decoded(data: str, most: int | None = None) -> bytes:
    """The bytes, or their beginning; none where they cannot be read. In either alphabet, with or without its end: as
    leniently as a provider might read it, and never otherwise than it does."""
    end = len(data) if most is None else min(len(data), most // 3 * 4)
    made, rest = list[bytes](), b""
    try:
        for at in range(0, end, _PIECE):
            part = data[at : min(at + _PIECE, end)].encode("ascii").translate(_ALPHABET, _SPACE)
            if b"=" in rest:
                if part.strip(b"="):
                    return b""  # it goes on behind its end
                continue
            rest += part
            if b"=" not in rest:
                whole = len(rest) // 4 * 4
                made.append(base64.b64decode(rest[:whole], validate=True))
                rest = rest[whole:]
        if end == len(data) or b"=" in rest:
            rest = rest.rstrip(b"=")
            made.append(base64.b64decode(rest + b"=" * (-len(rest) % 4), validate=True))
    except ValueError:  # of which binascii.Error and UnicodeEncodeError are some
        return b""
    return b"".join(made)


def _data(wire: Wire, body: Mapping[str, Any], may: Allowance) -> Iterator[tuple[str, str]]:
    """(base64, media type) of each. Raises Spent."""
    left = _parts(wire, body)
    while left:
        may.take(_PART)
        part = left.pop()
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
    """Of a part of a request in either of OpenAI's formats. By its fields: some servers need no type to know a part."""
    for kind in ("image_url", "video_url", "audio_url"):
        if kind in part:
            yield from _url(bodies.mapping(part[kind]).get("url") or part[kind], f"{kind.partition('_')[0]}/")
    yield from _file(part)
    yield from _file(bodies.mapping(part.get("file")))
    said = bodies.mapping(part.get("input_audio")) or (part if part.get("type") == "input_audio" else {})
    if said:
        yield _text(said.get("data")), f"audio/{_text(said.get('format'))}"


def _url(found: Any, mime: str) -> Iterator[tuple[str, str]]:
    if not _text(found).startswith("data:"):
        return
    head, _, data = _text(found).partition(",")
    named = head.removeprefix("data:").partition(";")[0].lower() or mime
    # One that is not base64 is nobody's picture yet; its letters count as text besides.
    yield (data, named) if head.endswith(";base64") else ("", mime)


def _file(file: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    found, name = _text(file.get("file_data")), _text(file.get("filename")).lower()
    named = "application/pdf" if name.endswith(".pdf") else "file/other" if name else ""
    if found.startswith("data:"):
        yield from _url(found, named)
    elif found:
        yield found, named


def _text(found: Any) -> str:
    return found if isinstance(found, str) else ""


def _parts(wire: Wire, body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of what is said that are not bare text, as they stand in the request."""
    match wire:
        case Wire.GEMINI:
            system = body.get("systemInstruction") or body.get("system_instruction")
            said = [*bodies.objects(body.get("contents")), *bodies.objects(system)]
            return [part for one in said for part in bodies.objects(one.get("parts"))]
        case Wire.RESPONSES:
            items = bodies.objects(body.get("input"))
            return [part for item in items for key in ("content", "output") for part in bodies.objects(item.get(key))]
        case _:
            said = bodies.objects(body.get("messages"))
            return [part for message in said for part in bodies.objects(message.get("content"))]


def _nested(wire: Wire, part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Parts that a part holds."""
    if wire is Wire.MESSAGES:
        # Of whichever kind: what a tool of the vendor's found is told inside of what it says that it found.
        held = bodies.objects(part.get("content"))
        return [*held, *bodies.objects(bodies.mapping(part.get("source")).get("content"))]
    if wire is Wire.GEMINI:
        answer = bodies.mapping(part.get("functionResponse") or part.get("function_response"))
        return bodies.objects(answer.get("parts"))
    return []
