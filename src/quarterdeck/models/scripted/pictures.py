"""What pictures and documents in a request are billed, as their providers do it: by what they show, not by their bytes.

Rules
- A picture: by its pixels (PNG). A document: by its pages (PDF), each a picture and its text.
- What is called text is text, whatever it begins like: it is billed by what it says.
- In the place of its bytes stands as much text as comes to its tokens: what counts characters counts it rightly.
- Independent of what anybody set aside for it: this is the side that bills.
Source: the vision pages of platform.claude.com, developers.openai.com and ai.google.dev.
"""

import base64
from math import ceil
from typing import Any, Final

from quarterdeck.models.scripted.heard import Format

_LARGEST: Final = {Format.MESSAGES: 4_784, Format.GEMINI: 1_120}
_PAGE: Final = 4_500
_OTHER: Final = 1_500
"""Tokens of a picture in another format."""
_MARK: Final = ";base64,"
_FIELDS: Final = ("data", "file_data", "image_url", "url")
_TYPES: Final = ("media_type", "mimeType", "mime_type")


def as_text(wire: Format, body: Any, chars_per_token: int) -> Any:
    """The request with text in the place of pictures and documents."""
    if isinstance(body, list):
        return [as_text(wire, each, chars_per_token) for each in body]
    if not isinstance(body, dict):
        return body
    called = next((str(body[key]) for key in _TYPES if key in body), "")
    made = {}
    for key, value in body.items():
        if key in _FIELDS and isinstance(value, str) and (_MARK in value or (key == "data" and called)):
            named, _, data = value.rpartition(",")
            made[key] = _billed(wire, named.removeprefix("data:") or called, base64.b64decode(data), chars_per_token)
        else:
            made[key] = as_text(wire, value, chars_per_token)
    return made


def _billed(wire: Format, called: str, shown: bytes, chars_per_token: int) -> str:
    """Text that is billed as what is shown is."""
    if called.startswith("text/"):
        return shown.decode("utf-8", "replace")
    return "p" * (_tokens(wire, shown) * chars_per_token)


def _tokens(wire: Format, shown: bytes) -> int:
    if shown.startswith(b"%PDF"):
        return _PAGE * max(1, shown.count(b"/Type /Page\n"))
    if not shown.startswith(b"\x89PNG"):
        return _OTHER
    width, height = int.from_bytes(shown[16:20]), int.from_bytes(shown[20:24])
    if wire in (Format.RESPONSES, Format.CHAT):
        return ceil(1.2 * ceil(width / 32) * ceil(height / 32))
    return min(_LARGEST.get(wire, 5_000), ceil(width / 28) * ceil(height / 28))
