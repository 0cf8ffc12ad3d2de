"""What a merge is asked and answers.

Rules
- A side that is None is not there: the file was deleted, or never was.
- A merge that cannot be made is an answer with its reason, never an exception.
- Texts beyond the limits below are not looked into: they are lost with that as the reason.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_CHARACTERS: Final = 2_000_000
"""Of one side."""
MOST_LINES: Final = 30_000
"""Of one side."""


class Way(StrEnum):
    """How two changes are put together."""

    GIT = "git"
    DRIVER = "driver"
    """An outside program that merges by syntax; run by the workplace."""
    ENTITY = "entity"
    UNION = "union"
    ENTITY_UNION = "entity+union"


ORDER: Final = (Way.GIT, Way.DRIVER, Way.ENTITY, Way.UNION, Way.ENTITY_UNION)
"""The order in which ways are tried: from the one that guesses least to the one that guesses most."""


@dataclass(frozen=True, slots=True)
class Entity:
    """Something that has a name in a text."""

    name: str
    """Dotted: `Class.method`."""
    kind: str
    """function, class, method, import, list, assignment or section."""
    first: int
    """Its first line, with its decorators and the comments that belong to it; from 1."""
    last: int
    """Its last line, inclusive."""


@dataclass(frozen=True, slots=True)
class Sides:
    """One file on both sides of a merge, and where they began. None = the file is not there."""

    path: str
    base: str | None
    ours: str | None
    theirs: str | None


@dataclass(frozen=True, slots=True)
class Resolved:
    """A merged text, and what people should know of how it came to be."""

    text: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """This way has no result."""

    reason: str
