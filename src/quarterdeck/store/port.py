"""The port to the database.

Rules
- Writes are functions over a transaction. Several waiting writes may be committed together (group commit); each
  succeeds or fails alone, and its caller is answered only after the commit is durable.
- A write function runs on the store's own thread: it must be short, must not wait, and must not touch the event loop.
- One write of a deck happens after the other, also where many processes write: what it has read stays so until it ends.
- What a statement without rows did wrong may be raised only when its write, or the next `alone`, ends. A write that
  goes on after a statement of its own has failed must have run it `alone`.
- Statements are named and live in `queries/*.sql`; parameters are named (`:name`). No other file holds SQL.
- Reads never wait for writes.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

T = TypeVar("T")

Row = Mapping[str, Any]
"""One result row: column name to str, int, float, bytes or None."""


Ask = tuple[str, Mapping[str, Any]]
"""A named statement to read with, and its parameters."""


Dialect = Literal["sqlite", "postgres"]
"""Whose SQL a store speaks."""


@dataclass(frozen=True, slots=True)
class Laid:
    """What a database got of a part that stands beside the deck's own schema."""

    name: str
    steps: int
    """How many it lacked."""


class Torn(Exception):
    """A work that was run `lightly` failed after it had changed something: the write that it is part of has to fail."""


class Tx(Protocol):
    """An open write transaction. Valid only inside the function it was given to."""

    def run(self, statement: str, /, **parameters: Any) -> list[Row]:
        """Execute the named statement and return its rows (empty for statements that return none)."""
        ...

    def run_many(self, statement: str, rows: Sequence[Mapping[str, Any]] | Sequence[tuple[Any, ...]], /) -> None:
        """Execute the named statement once for each mapping of parameters, or for each tuple where it numbers them
        (`?1`): binding by name costs the most frequent statements a third of their time."""
        ...

    def alone(self, work: Callable[["Tx"], T], /) -> T:
        """Run `work` inside this transaction so that an exception, which is raised here again, undoes only what `work`
        did."""
        ...

    def lightly(self, work: Callable[["Tx"], T], /) -> T:
        """`alone` for a work that looks before it changes anything, without the price of a savepoint where that can be
        saved: an exception after the first change raises Torn."""
        ...


Write = Callable[[Tx], T]


class Reads(Protocol):
    """What can be read from."""

    async def read(self, statement: str, /, **parameters: Any) -> list[Row]:
        """Rows of the named statement, as of the last commit."""
        ...

    async def reads(self, *asks: Ask) -> list[list[Row]]:
        """Rows of several named statements, all as of the same commit."""
        ...


class Store(Reads, Protocol):
    """One database."""

    @property
    def dialect(self) -> Dialect:
        """Whose SQL it speaks."""
        ...

    @property
    def where(self) -> str:
        """Where it is, for people; never a password."""
        ...

    @property
    def came_from(self) -> int:
        """The version of the schema that opening it found; 0 = there was none."""
        ...

    async def write(self, work: Write[T]) -> T:
        """Run `work` in a transaction and return its result once that is durable.

        An exception of `work` undoes only what `work` did and is raised here.
        Raises StoreUnavailable (disk full, database gone): nothing of `work` is kept then.
        """
        ...

    def sole(self) -> AbstractAsyncContextManager[None]:
        """Have the database alone: within the block, nobody else has written since they opened it, or begins to.

        Raises Conflicting where somebody has. Who opens it meanwhile can read; their writes raise StoreUnavailable.
        """
        ...

    async def changed(self, since: int, timeout: float) -> int:
        """Wait until anyone, also another process, has committed something after the mark `since`, or `timeout`
        seconds have passed; returns the new mark. `since=0` answers at once. Raises StoreUnavailable once closed."""
        ...

    async def close(self) -> None:
        """Finish waiting writes and close. Idempotent."""
        ...
