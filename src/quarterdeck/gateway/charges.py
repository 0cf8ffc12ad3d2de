"""What pictures, documents and sound are charged for at most, in tokens, by what each vendor publishes. Pure.

Rules
- An upper bound for whatever the request asks for (`detail`, `media_resolution`): the dearest of what is published.
- Anthropic: a token for each 28 by 28 pixels (also told as width * height / 750), after a picture was made to fit;
  4,784 at most, and less for older models. A page of a PDF is its picture and its text.
- OpenAI: newer models a token for each 32 by 32 pixels times a factor of the model, up to its most; others by tiles of
  512, never more than eight. A page of a PDF is its picture and its text.
- Google: up to Gemini 2, 258 for each tile of a picture; from Gemini 3 on at most 2,240 for a picture or a page. Sound:
  32 a second, which some models charge several times as much for as text.
- A server of one's own: what the open models that people serve are known to take at most.
- What may be text counts by both, its characters and what it begins like.
- Where a size is not known, the largest there is; where there is no largest, the window.
Sources: platform.claude.com/docs (vision, PDF support), developers.openai.com/api/docs (images and vision, file
inputs), ai.google.dev/gemini-api/docs (tokens, image understanding, media resolution); all as of November 2026.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Final

from quarterdeck.gateway.inline import Document, Other, Picture, Piece, Sound


@dataclass(frozen=True, slots=True)
class Inline:
    """What lies in a request beside text."""

    size: int = 0
    """Characters that are no text."""
    tokens: int | None = 0
    """At most; None = as many as the window has room for."""
    doubtful: int = 0
    """Characters that may be text: they count besides, and make nothing too long."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """How a model of OpenAI's charges for a picture: the larger of the two ways."""

    each: float
    """Tokens of a patch."""
    most: int
    """Patches."""
    tiled: int = 0
    """Tokens of a picture of eight tiles."""


_OPENAI: Final = (
    (re.compile(r"gpt-4o-mini"), _Sight(2.46, 1_536, 2_833 + 8 * 5_667)),
    (re.compile(r".*-nano"), _Sight(2.46, 1_536)),
    (re.compile(r".*-mini"), _Sight(1.72, 1_536, 85 + 8 * 170)),
    (re.compile(r"gpt-(5\.6|6)(\.\d)?-luna"), _Sight(2.46, 30_000)),
    (re.compile(r"gpt-(5\.[6-9]|6)"), _Sight(1.2, 30_000)),
    (re.compile(r"gpt-5\.[45]"), _Sight(1.2, 10_000)),
    (re.compile(r"gpt-5\.|.*codex"), _Sight(1.2, 2_500)),
    (re.compile(r"gpt-[45]|chatgpt|o[13]"), _Sight(1.0, 1_536, 85 + 8 * 170)),
)
_ANY: Final = _Sight(2.46, 30_000, 2_833 + 8 * 5_667)
"""A model that is not known."""
_LEAST_PATCHES: Final = 256
"""A smaller picture may be made as large as 512 by 512."""

_ANTHROPIC: Final = 5_000
_OLD_GEMINI: Final = re.compile(r"gemini-[12](\.|-)")
_GEMINI: Final = 2_304
_SERVED: Final = (6_404, 16_384)
"""Tokens that an open model takes for a picture: those of Llama's at least, those of Qwen's at most."""
_BESIDE: Final = 100
"""Tokens that may stand around each piece."""
_HUGE: Final = (8_192, 8_192)
"""Pixels of a picture of which nothing is known, where its vendor makes none fit."""

_SHEET: Final = (1_700, 2_200)
"""Pixels of a page: letter paper at 200 to the inch."""
_WRITING: Final = 3_000
"""Tokens of the text of a page: the most that Anthropic tells for one."""

_SECOND: Final = {"google": 32 * 4, "openai": 10, "chat": 50}
"""Tokens of a second of sound; Google's at the price of text."""


def inline(name: str, pieces: Iterable[Piece]) -> Inline:
    """What they come to for the model `provider:model`."""
    size, tokens, doubtful = 0, 0, 0
    known = True
    for piece in pieces:
        each = _tokens(name, piece)
        if isinstance(piece, Other) or not piece.text:
            size += piece.size
        else:
            doubtful += piece.size
        tokens += (each or 0) + _BESIDE
        known = known and each is not None
    return Inline(size, tokens if known else None, doubtful)


def _tokens(name: str, piece: Piece) -> int | None:
    """At most; None = nothing bounds it."""
    match piece:
        case Picture():
            return _picture(name, piece.width, piece.height)
        case Document() if piece.pages:
            return piece.pages * (_picture(name, *_SHEET) + _WRITING)
        case Sound() if piece.seconds and name.partition(":")[0] in _SECOND:
            return ceil(piece.seconds * _SECOND[name.partition(":")[0]])
        case _:
            return None


def _picture(name: str, width: int, height: int) -> int:
    """Tokens of a picture of that size at most; 0 by 0 = of any size."""
    provider, _, model = name.partition(":")
    match provider:
        case "anthropic":
            whole = max(_squares(28, width, height), ceil(width * height / 750))
            return min(whole, _ANTHROPIC) if width else _ANTHROPIC
        case "openai":
            sight = next((sight for pattern, sight in _OPENAI if pattern.match(model)), _ANY)
            patches = max(_LEAST_PATCHES, _squares(32, width, height)) if width else sight.most
            return max(ceil(sight.each * min(patches, sight.most)), sight.tiled)
        case "google":
            return max(_GEMINI, _tiled(*((width, height) if width else _HUGE))) if _OLD_GEMINI.match(model) else _GEMINI
        case _:
            least, most = _SERVED
            return min(max(least, _squares(28, width, height)), most) if width else most


def _squares(side: int, width: int, height: int) -> int:
    return ceil(width / side) * ceil(height / side)


def _tiled(width: int, height: int) -> int:
    """Tokens by the tiles of older Geminis: their side follows from the shorter one of the picture's."""
    side = max(256, min(768, int(min(width, height) / 1.5)))
    return 258 * _squares(side, width, height)
