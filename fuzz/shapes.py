"""Input bytes as a row of choices: how a target that expects structure gets structure out of plain bytes.

Rules
- The same bytes always make the same thing, and a small change of the bytes makes a small change of the thing: that is
  what a search that is guided by coverage lives on.
- When the bytes run out every choice is the first one, so every input ends.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")

ODD: Final[tuple[Any, ...]] = (
    None,
    "",
    0,
    -1,
    True,
    [],
    {},
    1.5,
    2**63,
    10**30,
    1e999,
    float("nan"),
    "\ud83d",
    "\ude00",
    "\0",
    "a" * 300,
    [None],
    {"": None},
    [[[[[[[[[[]]]]]]]]]],
    "12",
)
"""Values that stand where nobody expects them."""


class Choices:
    """Reads decisions off the front of `data`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that are not used yet."""
        return len(self._data) - self._at

    def number(self) -> int:
        """0 to 255."""
        if not self.left:
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.number() % len(options)]

    def chunk(self) -> bytes:
        """Up to 255 bytes, as many as are left; their number stands first."""
        size = min(self.number(), self.left)
        self._at += size
        return self._data[self._at - size : self._at]

    def rest(self) -> bytes:
        """Everything that is left."""
        found = self._data[self._at :]
        self._at = len(self._data)
        return found

    def text(self) -> str:
        """Text of a chunk; what is no UTF-8 becomes half surrogate pairs."""
        return self.chunk().decode("utf-8", "surrogateescape")

    def mangled(self, template: Any, depth: int = 0) -> Any:
        """The template with some of its parts replaced, dropped or repeated."""
        what = self.number()
        if what < 176 or depth > 8:
            return self._inside(template, depth) if isinstance(template, dict | list) and what % 2 else template
        if what < 208:
            return ODD[what % len(ODD)]
        if what < 240 and isinstance(template, str):
            return self.text()
        if what < 248 and isinstance(template, int):
            return self.number() - 128
        return self.pick(ODD)

    def _inside(self, template: Any, depth: int) -> Any:
        if isinstance(template, list):
            return [self.mangled(item, depth + 1) for item in template]
        return {
            key if self.number() < 240 else self.text(): self.mangled(item, depth + 1)
            for key, item in template.items()
            if self.number() < 240
        }


def as_json(value: Any) -> bytes:
    """JSON as lax as the wire is: NaN, and half surrogate pairs as escapes."""
    return json.dumps(value).encode("ascii")
