"""Named SQL statements and numbered migrations, read from the package's own .sql files.

Rules
- A statement begins with `-- name: xyz`, then at least one comment line that says what it is for.
- Names are unique over all files.
- A migration is `NNNN_name.sql`; numbers run from 1 without a gap.
"""

import re
import sqlite3
from dataclasses import dataclass
from functools import cache
from importlib import resources

_HEADER = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\s*$", re.MULTILINE)
_MIGRATION = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    version: int
    statements: tuple[str, ...]


def parse(text: str, where: str) -> dict[str, str]:
    """The named statements of one file. Raises ValueError where a name comes twice or has no explanation."""
    parts = _HEADER.split(text)
    found: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        lines = body.strip().splitlines()
        sql = "\n".join(line for line in lines if not line.lstrip().startswith("--")).strip().rstrip(";")
        if name in found:
            raise ValueError(f"{where}: the statement {name} is there twice")
        if not lines or not lines[0].startswith("-- "):
            raise ValueError(f"{where}: the statement {name} does not say what it is for")
        if not sql:
            raise ValueError(f"{where}: the statement {name} is empty")
        found[name] = sql
    return found


@cache
def statements() -> dict[str, str]:
    """All named statements. Raises ValueError where two files share a name."""
    merged: dict[str, str] = {}
    for file in sorted(resources.files("quarterdeck.store").joinpath("queries").iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".sql"):
            continue
        for name, sql in parse(file.read_text(encoding="utf-8"), file.name).items():
            if name in merged:
                raise ValueError(f"{file.name}: the statement {name} is in another file already")
            merged[name] = sql
    return merged


def split(script: str) -> tuple[str, ...]:
    """The single statements of a script. (`sqlite3.executescript` would commit the open transaction.)"""
    found: list[str] = []
    part = ""
    for line in script.splitlines():
        if not part and (not line.strip() or line.lstrip().startswith("--")):
            continue
        part += line + "\n"
        if sqlite3.complete_statement(part):
            found.append(part.strip())
            part = ""
    if part.strip():
        raise ValueError("the script's last statement is not complete")
    return tuple(found)


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations in order. Raises ValueError where a number is missing."""
    files = sorted(resources.files("quarterdeck.store").joinpath("schema").iterdir(), key=lambda f: f.name)
    steps = [
        Migration(int(match[1]), split(file.read_text(encoding="utf-8")))
        for file in files
        if (match := _MIGRATION.match(file.name))
    ]
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise ValueError("migration numbers do not run from 1 without a gap")
    return tuple(steps)
