"""Ways of merging: what can be configured about them, and what became of them, as values.

Rules
- git's own merge is always the first way: nothing else is tried where it is not among them.
"""

from collections.abc import Sequence
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from quarterdeck.kernel.entities import Value

WayName = Literal["git", "driver", "entity", "union", "entity+union"]

Taking = Literal["auto", "ask", "never"]
"""What happens to a landed change that made the target red."""

WAYS: Final[tuple[WayName, ...]] = ("git", "driver", "entity", "union", "entity+union")
"""In the order in which they are tried."""


class MergeSection(Value):
    """How a change is merged that meets another one on the same files, and what becomes of one that turns out to be red
    after it has landed. The first way whose tree passes the checks of the gate and the `verify` commands of both tasks
    is taken. A repository may only take ways away."""

    ways: tuple[WayName, ...] = Field(default=WAYS, min_length=1, max_length=5)
    """What is tried, in this order whatever is written here: git's own merge, an external driver, functions and
    classes one by one, both sides one after the other, and the last two together."""
    driver: Literal["auto", "off"] = "auto"
    """`auto` = mergiraf, where it is installed."""
    revert: Taking = "auto"
    """What happens to a change that has landed and turns out to have made its target red: it is taken back at once, a
    person is asked first, or people are only told. A repository may only have it done less often."""

    @model_validator(mode="after")
    def _begins_with_git(self) -> Self:
        if "git" not in self.ways:
            raise ValueError('"git" must be among the ways: it is what the others are tried after')
        return self


class LostWay(Value):
    """A way of merging that came to nothing."""

    way: Literal["git", "driver", "entity", "union", "entity+union"]
    """Which."""
    reason: str = Field(max_length=1_000)
    """Why: a conflict, an objection to its result, a tree that failed."""


class Suspect(Value):
    """A commit of the target that may have made it red."""

    commit: str
    """Its id."""
    tree: str
    """The tree that is checked to find out."""
    attempt: str = ""
    """The attempt that it landed; empty = it is not from a run that goes on, and is not taken back."""
    subject: str = Field(default="", max_length=60)
    """Beginning of its message."""


def ways_in_words(lost: Sequence[LostWay]) -> str:
    """`git: conflict in a.py; entity: red: ...`."""
    return "; ".join(f"{each.way}: {each.reason}" for each in lost)
