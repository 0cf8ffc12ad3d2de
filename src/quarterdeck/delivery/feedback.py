"""Feedback from one attempt to the next, as it is stored.

Rules
- Bounded: the newest four pieces are kept, so that an agent sees why the last tries failed without drowning in it.
"""

from typing import Final

from pydantic import TypeAdapter

from quarterdeck.journal.port import Journal
from quarterdeck.kernel.entities import Feedback

KEPT: Final = 4

_LIST: Final = TypeAdapter(tuple[Feedback, ...])


async def load(journal: Journal, blob: str | None) -> tuple[Feedback, ...]:
    """The feedback stored under that digest; none for None."""
    return _LIST.validate_json(await journal.get(blob)) if blob else ()


async def save(journal: Journal, earlier: tuple[Feedback, ...], new: tuple[Feedback, ...]) -> str | None:
    """Store the newest pieces; returns the digest, or None where there are none."""
    pieces = (*earlier, *new)[-KEPT:]
    return await journal.put(_LIST.dump_json(pieces)) if pieces else None
