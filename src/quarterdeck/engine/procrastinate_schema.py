"""What the engine for many workers needs in the database: procrastinate's schema, and ours beside it.

Rules
- A database that has nothing of procrastinate gets its schema whole; one that has gets the steps that it lacks, as
  procrastinate ships and names them.
- Ours comes after theirs: it calls their functions.
"""

from importlib import resources
from pathlib import Path
from typing import Final

from procrastinate.schema import SchemaManager

from quarterdeck.store.foundations import Foundation

_OURS: Final = ("store", "schema", "engine")


def foundations() -> tuple[Foundation, ...]:
    """In the order in which they are laid."""
    steps = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    ours = resources.files("quarterdeck").joinpath(*_OURS)
    files = sorted((file for file in ours.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return (
        Foundation(
            "procrastinate",
            SchemaManager.get_schema(),
            tuple((step.name, step.read_text(encoding="utf-8")) for step in steps),
        ),
        Foundation("engine", None, tuple((file.name, file.read_text(encoding="utf-8")) for file in files)),
    )
