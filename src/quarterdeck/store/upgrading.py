"""Bringing a PostgreSQL database up to date: the deck's own schema, and what stands beside it.

Rules
- One process at a time, under the deck's lock; but whether anything is missing is seen without it, so that whoever only
  looks waits for nobody and needs no right to write.
"""

from collections.abc import Sequence
from typing import Final

from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.store.foundations import Foundation, lay
from quarterdeck.store.port import Laid
from quarterdeck.store.session import Session
from quarterdeck.store.statements import migrations

LOCK: Final = 0x71646D31
"""The advisory lock of a deck's writers; one database holds one deck."""

_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
_COMMIT: Final = "COMMIT"


def begin(session: Session) -> None:
    """Begin a transaction and take the deck's lock. Raises psycopg.Error."""
    session.control(_BEGIN)
    session.run("session_begun", {"key": LOCK})


def version_of(session: Session) -> int:
    """Of the schema that the database has; 0 = none. Raises psycopg.Error."""
    there = session.run("session_schema", {})[0]["there"]
    return int(session.run("session_deck", {})[0]["version"]) if there else 0


def migrate(session: Session, where: str) -> int:
    """Bring the schema up to date, one process at a time; from which version.

    Raises psycopg.Error, and BadConfiguration where the database is newer than this code.
    """
    steps = migrations("postgres")
    begin(session)
    try:
        found = version_of(session)
        for step in steps:
            if step.version > found:
                for script in step.statements:
                    session.script(script)
                session.run("session_migrated", {"version": step.version})
        session.control(_COMMIT)
        session.settle()
    except BaseException:
        if session.alive:
            session.undo()
        raise
    if found > steps[-1].version:
        raise BadConfiguration(
            f"The database {where} was written by a newer version of quarterdeck",
            why=f"its schema is version {found}, this version knows {steps[-1].version}",
            fix="pip install --upgrade quarterdeck",
        )
    return found


def found(session: Session, foundations: Sequence[Foundation]) -> tuple[Laid, ...]:
    """Lay these foundations, one process at a time; what was laid. Raises psycopg.Error."""
    begin(session)
    laid = lay(session, foundations)
    session.control(_COMMIT)
    session.settle()
    return laid
