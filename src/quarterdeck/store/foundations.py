"""Schemas of others in the deck's PostgreSQL database, and what stands beside them.

Rules
- A database that has nothing of a foundation gets it whole, where it can be had whole; else it gets the steps that it
  lacks, in their order. All of it happens or nothing, one process at a time.
- Whether something is missing is seen without waiting for anybody.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.store.port import Laid
from quarterdeck.store.session import Session


@dataclass(frozen=True, slots=True)
class Foundation:
    """One schema."""

    name: str
    whole: str | None
    """All of it as one script, for a database that has none of it; None = only its steps are there."""
    steps: tuple[tuple[str, str], ...]
    """Names and scripts of how it came to be, in their order."""


def complete(foundation: Foundation, there: Collection[str], where: str) -> bool:
    """Whether the database has all of it, of which it has these steps. Raises BadConfiguration where it has more than
    this code knows."""
    known = {name for name, _ in foundation.steps}
    if unknown := sorted(set(there) - known):
        raise BadConfiguration(
            f"The database {where} was written by a newer version of quarterdeck",
            why=f"its part {foundation.name} has {unknown[-1]}",
            fix="pip install --upgrade quarterdeck",
        )
    return known <= set(there)


def lay(session: Session, foundations: Sequence[Foundation]) -> tuple[Laid, ...]:
    """Inside an open transaction that holds the deck's lock; what was laid. Raises psycopg.Error."""
    laid: list[Laid] = []
    for foundation in foundations:
        there = {row["step"] for row in session.run("session_laid", {"name": foundation.name})}
        missing = [(name, script) for name, script in foundation.steps if name not in there]
        if foundation.whole is not None and not there:
            session.script(foundation.whole)
        else:
            for _, script in missing:
                session.script(script)
        for name, _ in missing:
            session.run("session_lay", {"name": foundation.name, "step": name})
        if missing:
            laid.append(Laid(foundation.name, len(missing)))
    return tuple(laid)
