"""What an operator does with the deck's database: bring it up to date, check it, copy it, take it elsewhere, prune it.

Rules
- A copy of a deck is one SQLite file, wherever the deck lies: it is a deck itself, and can be looked into as one.
- Nothing is overwritten; a copy that did not come to its end is not left behind under its name. A file that is brought
  in stays as it is: it is read from a copy of its own, which may have to be brought up to date.
- What is brought in becomes the deck's own only where the two do not differ (`journal.transfer`), and while nobody else
  works on it.
- Up to date means all of it: the deck's own schema, and on PostgreSQL what its workers share beside it, so that whoever
  may only read finds everything there.
- A disk that is full is said as that, and never as a fault of the file that is read.
"""

import asyncio
import shlex
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from quarterdeck.assembly.late import many_workers
from quarterdeck.assembly.parts import Parts
from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Verification
from quarterdeck.journal.pruning import Pruned, chosen, ended, prune, sweep
from quarterdeck.journal.transfer import Transferred, transfer
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.failures import UNWELL, BadInput, Conflicting, NotFound, QuarterdeckError, StoreUnavailable
from quarterdeck.settings import Settings
from quarterdeck.store import copying
from quarterdeck.store.opening import open_store
from quarterdeck.store.port import Laid, Store
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.store.statements import migrations


@dataclass(frozen=True, slots=True)
class Database:
    """The deck's database as it is now."""

    where: str
    dialect: str
    version: int
    """Of the schema."""


@dataclass(frozen=True, slots=True)
class Upgraded(Database):
    """What bringing it up to date did."""

    before: int
    """Version of the schema that was found; 0 = there was none."""
    laid: tuple[Laid, ...]
    """What the part lacked that many workers share."""


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Store]:
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = await open_store(settings)
    try:
        yield store
    finally:
        await store.close()


async def upgrade(settings: Settings) -> Upgraded:
    """Bring the whole database up to date. Raises StoreUnavailable, MissingPart, BadConfiguration where a newer version
    wrote it."""
    async with _opened(settings) as store:
        laid = await many_workers().prepare(store) if store.dialect == "postgres" else ()
        newest = migrations(store.dialect)[-1].version
        return Upgraded(store.where, store.dialect, newest, before=store.came_from, laid=laid)


async def check(settings: Settings) -> tuple[Database, Verification]:
    """Compute all chains and bodies anew, and ask the database what it knows to be wrong with itself."""
    async with _opened(settings) as store:
        found = await Log(store, SystemClock()).verify()
        return Database(store.where, store.dialect, migrations(store.dialect)[-1].version), found


async def export(settings: Settings, file: Path) -> Transferred:
    """The whole deck as one file. Raises Conflicting where there is one of that name, BadInput where it cannot be
    written."""
    _must_be_free(file)
    partial = copying.beside(file)
    try:
        copying.discard(partial)
        async with _opened(settings) as store:
            copy = await SqliteStore.open(partial)
            try:
                found = await transfer(store, copy)
            finally:
                await copy.close()
        await asyncio.to_thread(copying.settle, partial, file)
    except (OSError, sqlite3.Error) as error:
        raise _unwritten(file, error) from error
    finally:
        copying.discard(partial)
    return found


async def backup(settings: Settings, file: Path) -> None:
    """A copy of the database as it is now, while it is in use. Of an SQLite deck it is made page by page and holds
    everything; of any other it is an export."""
    _must_be_free(file)
    async with _opened(settings) as store:
        where = _file_of(store)
    if where is None:
        await export(settings, file)
        return
    try:
        await asyncio.to_thread(copying.copy, where, file)
    except (OSError, sqlite3.Error) as error:
        raise _unwritten(file, error) from error


async def bring(settings: Settings, file: Path) -> Transferred:
    """Bring a deck that was exported into this one. Raises NotFound, BadInput, Conflicting where the two differ or
    somebody else uses this one."""
    async with _opened(settings) as store:
        _must_be_another(store, file)
        with tempfile.TemporaryDirectory(dir=settings.home, prefix=".import-") as folder:
            source = await SqliteStore.open(await asyncio.to_thread(_taken, file, Path(folder)))
            try:
                async with store.sole():  # whoever began to work here meanwhile would write into the same streams
                    return await transfer(source, store)
            finally:
                await source.close()


def _taken(file: Path, folder: Path) -> Path:
    """A copy of that deck there, to be read from. Raises BadInput where it is none, StoreUnavailable where the machine
    stands in the way."""
    copy = folder / file.name
    try:
        if copying.take(file, copy):
            return copy
        why = "it holds something else"
    except OSError as error:
        raise _unread(file, folder, error.strerror or str(error)) from error
    except sqlite3.Error as error:
        if not copying.is_foreign(error):
            raise _unread(file, folder, str(error)) from error
        why = str(error)
    raise BadInput(f"{file} is no copy of a deck", why=why, fix="quarterdeck db backup FILE makes one")


def _unread(file: Path, folder: Path, why: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"{file} cannot be copied into {folder.parent}, to be read from there",
        why=why,
        fix=f"see that it can be read, and that the disk of {folder.parent} has room for it",
    )


def _unwritten(file: Path, error: OSError | sqlite3.Error) -> QuarterdeckError:
    """What the caller is told of a copy that could not be made."""
    if isinstance(error, OSError) and error.errno not in UNWELL:
        return BadInput(f"{file} cannot be written", why=error.strerror or str(error), fix="choose another place")
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return StoreUnavailable(
        f"The copy {file} cannot be made",
        why=why,
        fix=f"see that the disk of {file.parent} has room for it; if it has: quarterdeck db check",
    )


async def restore(settings: Settings, file: Path) -> Transferred:
    """The same into an empty database. Raises Conflicting where it is not empty."""
    async with _opened(settings) as store:
        if await store.read("stream_names", prefix=""):
            raise Conflicting(
                f"{store.where} holds a deck",
                why="a copy is restored where nothing is",
                fix="move it away, or set QUARTERDECK_DATABASE_URL to an empty database; if a restore of this file was "
                f"interrupted, it goes on with quarterdeck import {shlex.quote(str(file))}",
            )
    return await bring(settings, file)


async def take_out(
    parts: Parts, *, before: float | None, keep: int | None, bodies: bool, by: str, trial: bool = False
) -> tuple[list[str], Pruned]:
    """Prune runs that have ended: which, and what went. `trial`: nothing is done. Raises Conflicting where bodies are
    to go while somebody else uses the deck."""
    if before is None and keep is None:
        raise BadInput("It is not said which runs are to go", fix="--before DATE, --keep N, or both")
    runs = chosen(await ended(parts.store), before, keep)
    if trial:
        return runs, Pruned()
    if not bodies:
        return runs, await prune(parts.store, parts.journal, runs, by)
    async with parts.store.sole():
        gone = await prune(parts.store, parts.journal, runs, by)
        swept = await sweep(parts.store, parts.journal)
    return runs, replace(gone, blobs=swept)


def _file_of(store: Store) -> Path | None:
    """The file that an SQLite deck is."""
    return Path(store.where).absolute() if store.dialect == "sqlite" else None


def _must_be_another(store: Store, file: Path) -> None:
    if not file.is_file():
        raise NotFound(f"There is no file {file}")
    if (own := _file_of(store)) is not None and own.resolve() == file.resolve():
        raise Conflicting(f"{file} is the deck itself")


def _must_be_free(file: Path) -> None:
    if file.exists():
        raise Conflicting(f"{file} exists", why="nothing is overwritten", fix="choose another name")
