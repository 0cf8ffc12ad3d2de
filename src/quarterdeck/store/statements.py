"""Named SQL statements and numbered migrations, read from the package's own .sql files.

Rules
- A statement begins with `-- name: xyz`, then at least one comment line that says what it is for.
- Names are unique over all files. A file in `queries/postgres` says how PostgreSQL says the same, only where the text
  in `queries` does not run there; and under names that begin with `session_`, what is said to PostgreSQL alone.
- What only the engine for many workers asks stands in `queries/workers`, and is there on PostgreSQL alone.
- A migration is `NNNN_name.sql`; numbers run without a gap. For SQLite they begin with 1; PostgreSQL's first one makes
  the whole schema as it was at its number, and both end with the same number.
- A text for both databases says `"user"` in quotes (PostgreSQL has a function of that name), names the table of what it
  adds to (`runs.input + excluded.input`), and says the type of a parameter that is only asked for being null.
"""

import re
import sqlite3
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from quarterdeck.store.port import Dialect

_HEADER = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\s*$", re.MULTILINE)
_MIGRATION = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_PARAMETER = re.compile(r"""('(?:[^']|'')*'|"[^"]*"|::)|:([a-z_][a-z0-9_]*)|\?(\d+)""")

_SPOKEN: Final = (
    # SQLite takes it as an order in which to join; PostgreSQL finds its own.
    (re.compile(r"\bCROSS JOIN (\w+(?: AS \w+)?\s+ON\b)"), r"JOIN \1"),
    (re.compile(r"\bchar\((\d+)\)"), r"chr(\1)"),
)
"""What PostgreSQL says in other words, wherever it stands."""


SESSION: Final = "session_"
"""Begins the names of what PostgreSQL alone is asked."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    version: int
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Numbered:
    """A statement with its parameters numbered, as PostgreSQL takes them."""

    sql: str
    names: tuple[str, ...]
    """Which parameter has which number, from 1; empty where they are numbered by who gives them too."""


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
def statements(dialect: Dialect = "sqlite") -> dict[str, str]:
    """All named statements as that database takes them. Raises ValueError where two files share a name, or where
    PostgreSQL alone has one that is not about its sessions."""
    queries = resources.files("quarterdeck.store").joinpath("queries")
    merged = _merged(queries)
    if dialect == "postgres":
        own = _merged(queries.joinpath("postgres"))
        if alone := sorted(name for name in own.keys() - merged.keys() if not name.startswith(SESSION)):
            raise ValueError(f"only PostgreSQL has {', '.join(alone)}")
        merged = {name: _spoken(sql) for name, sql in merged.items()} | own | workers_statements()
    return merged


@cache
def workers_statements() -> dict[str, str]:
    """What only the engine for many workers asks, of the tables that it brings."""
    return _merged(resources.files("quarterdeck.store").joinpath("queries", "workers"))


@cache
def numbered() -> dict[str, Numbered]:
    """PostgreSQL's statements, with their parameters numbered."""
    return {name: number(sql) for name, sql in statements("postgres").items()}


def number(sql: str) -> Numbered:
    """The statement with `$1` instead of `:name` and `?1`."""
    names: list[str] = []

    def place(match: re.Match[str]) -> str:
        kept, name, position = match.groups()
        if kept is not None:
            return str(kept)
        if position is not None:
            return f"${position}"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return Numbered(_PARAMETER.sub(place, sql), tuple(names))


def _spoken(sql: str) -> str:
    for ours, theirs in _SPOKEN:
        sql = ours.sub(theirs, sql)
    return sql


def _merged(folder: Traversable) -> dict[str, str]:
    merged: dict[str, str] = {}
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
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
def migrations(dialect: Dialect = "sqlite") -> tuple[Migration, ...]:
    """All migrations in order; a script for PostgreSQL counts as one statement. Raises ValueError where a number is
    missing."""
    folder = resources.files("quarterdeck.store").joinpath("schema")
    if dialect == "postgres":
        folder = folder.joinpath("postgres")
    steps = [
        Migration(int(match[1]), split(text) if dialect == "sqlite" else (text,))
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if (match := _MIGRATION.match(file.name)) and (text := file.read_text(encoding="utf-8"))
    ]
    first = 1 if dialect == "sqlite" or not steps else steps[0].version
    if [step.version for step in steps] != list(range(first, first + len(steps))):
        raise ValueError("migration numbers do not run without a gap")
    return tuple(steps)
