"""Labels of workers: what a machine has, and what some work needs of it.

Rules
- A label is a word (`gpu`) or a word with a value (`arch=arm64`).
- A worker has at most `MOST` of them, and work asks for at most as many.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import AfterValidator

MOST: Final = 6
"""A worker asks for jobs of every selection of its labels."""

_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}(=[A-Za-z0-9._-]{1,63})?")


def labels(texts: Iterable[str]) -> tuple[str, ...]:
    """Each label once, sorted. Raises ValueError."""
    found = tuple(sorted(set(texts)))
    for text in found:
        if _LABEL.fullmatch(text) is None:
            raise ValueError(f"{text[:80]!r} is no label; gpu, or a name and a value: arch=arm64")
    if len(found) > MOST:
        raise ValueError(f"{len(found)} labels are too many; at most {MOST}")
    return found


Labels = Annotated[tuple[str, ...], AfterValidator(labels)]
