"""Taking a whole deck from one database into another: the same events, chains and bodies; read tables are made anew.

Rules
- A stream that both have must be there what it is here, as far as it goes: then it is carried on. So a transfer that
  was interrupted goes on when it is asked for again, and a second one brings what is new. Anything else is refused
  before anything is written.
- Every chain and every body is computed on the way; what does not hold is not taken over.
- What is taken is the deck as it was when the transfer began: bodies first, so that no event names one that is missing.
  What a deck at work adds meanwhile is left alone, so that a transfer comes to its end however fast that is.
- Money and starts come along, as they were at that moment too. What a purse has set aside is what is held in it: it is
  summed up anew. Jobs do not come along: those of runs follow from the events wherever the runs go on; what waits of
  the outside (a message that nobody has decided about, a result on its way) does not.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from quarterdeck.journal.ends import Ends, pruned
from quarterdeck.journal.projections import rebuild
from quarterdeck.journal.proof import Walk, holds, walk_of
from quarterdeck.kernel import ids
from quarterdeck.kernel.failures import BadInput, Conflicting
from quarterdeck.store.port import Reads, Row, Store, Tx

_PAGE: Final = 500
_BLOB_PAGE: Final = 100

_KEPT: Final = (
    ("purses_all", "purse_put"),
    ("held_all", "held_set"),
    ("starts_all", "start_set"),
    ("replies_all", "reply_put"),
)
"""What is neither an event nor made from events: how it is read, and how it is written."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """What a transfer has brought."""

    streams: int
    """Streams of the source."""
    events: int
    """Events that were not there before."""
    blobs: int
    """Bodies that were not there before."""


@dataclass(slots=True)
class _Line:
    """One stream on its way."""

    walk: Walk
    head: Row
    """As the source has it."""
    have: int
    """How many records the target has already."""
    last: int
    """The id of its newest record in the target."""
    at: float = 0.0

    def row(self) -> dict[str, Any]:
        """The stream as it stands in the target by now."""
        head, walk = self.head, self.walk
        at = head["at"] if walk.seq == head["seq"] else self.at
        moved = {"seq": walk.seq, "hash": walk.hash, "last": self.last, "at": at}
        return {"name": walk.stream, "epoch": head["epoch"], "steps": head["steps"], **moved}


async def transfer(source: Reads, target: Store) -> Transferred:
    """Bring everything of `source` into `target`. Raises Conflicting where their streams differ or runs are pruned
    meanwhile, BadInput where the source's chains or bodies do not hold."""
    before = await target.read("held_all")
    [until], [newest], heads, *kept = await source.reads(
        ("event_last", {}), ("blob_last", {}), ("streams_all", {}), *((read, {}) for read, _ in _KEPT)
    )
    gone = await pruned(source)
    lines = {line.walk.stream: line for line in await _lines(source, target, heads, gone)}
    blobs = await _bodies(source, target, newest["last"])
    try:
        events = await _events(source, target, lines, until["last"])
    except BadInput:
        if (await pruned(source)).keys() == gone.keys():
            raise
        raise Conflicting("Runs were pruned while the deck was read", fix="the same command again") from None
    await target.write(partial(_keep, kept, _settled(before, kept, lines.keys())))
    await rebuild(target)
    return Transferred(len(lines), events, blobs)


def _keep(kept: Sequence[Sequence[Row]], settled: Sequence[Row], tx: Tx) -> None:
    for (_, put), rows in zip(_KEPT, kept, strict=True):
        tx.run_many(put, rows)
    tx.run_many("held_drop", settled)
    tx.run("purses_clear")
    tx.run("purses_sum")


def _settled(before: Sequence[Row], kept: Sequence[Sequence[Row]], streams: Set[str]) -> list[dict[str, str]]:
    """What the target still held for streams that come from the source, and the source does not hold any more."""
    held = {row["holder"] for (read, _), rows in zip(_KEPT, kept, strict=True) if read == "held_all" for row in rows}
    gone = [row["holder"] for row in before if row["holder"] not in held]
    return [{"holder": holder} for holder in gone if not streams.isdisjoint(_streams_of(holder))]


def _streams_of(holder: str) -> tuple[str, str]:
    """An attempt's, or a key's that belongs to no run."""
    name = holder.partition("/")[0]
    return ids.attempt_stream(name), f"key/{name}"


def _put_bodies(rows: Sequence[tuple[bytes, int, bytes]], tx: Tx) -> None:
    tx.run_many("blob_put", rows)


async def _lines(source: Reads, target: Store, heads: list[Row], gone: Ends) -> list[_Line]:
    """Where each stream goes on in the target. Raises Conflicting."""
    there = {row["name"]: row for row in await target.read("stream_ends")}
    lines: list[_Line] = []
    differing: list[str] = []
    for head in heads:
        name, seq, known = head["name"], head["seq"], there.get(head["name"])
        walk = walk_of(name, seq, None, gone.get(name))
        lines.append(_Line(walk, head, known["seq"] if known else 0, known["last"] if known else 0))
        if known is not None and known["seq"] and not await _same(source, head, known, gone.get(name)):
            differing.append(name)
    if differing:
        raise Conflicting(
            f"Both decks have {differing[0]}, and it is not the same"
            + (f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""),
            why="two decks cannot be mixed where both have written the same streams",
            fix="import into an empty database",
        )
    return lines


async def _same(source: Reads, head: Row, known: Row, gone: tuple[int, bytes] | None) -> bool:
    """Whether what the target has of a stream is how it begins in the source."""
    if known["seq"] == head["seq"]:
        return bool(known["hash"] == head["hash"])
    if known["seq"] > head["seq"] or gone is not None:
        return False
    rows = await source.read("events_of", stream=head["name"], after=known["seq"] - 1, limit=1)
    return bool(rows) and bool(rows[0]["hash"] == known["hash"])


async def _page(source: Reads, statement: str, until: int, **parameters: object) -> list[Row]:
    """The next rows, as far as they were there when the transfer began."""
    return [row for row in await source.read(statement, **parameters) if row["id"] <= until]


async def _bodies(source: Reads, target: Store, until: int) -> int:
    before = (await target.read("blobs_count"))[0]["n"]
    after = 0
    while rows := await _page(source, "blobs_all", until, after=after, limit=_BLOB_PAGE):
        after = rows[-1]["id"]
        wrong = next((row for row in rows if not holds(row)), None)
        if wrong is not None:
            raise _damaged(f"the blob {wrong['digest'].hex()} holds something else")
        bodies = [(row["digest"], row["codec"], row["body"]) for row in rows]
        await target.write(partial(_put_bodies, bodies))
    return int((await target.read("blobs_count"))[0]["n"] - before)


async def _events(source: Reads, target: Store, lines: dict[str, _Line], until: int) -> int:
    count = after = 0
    while rows := await _page(source, "events_all", until, prefix="", after=after, limit=_PAGE):
        after = rows[-1]["id"]
        fresh: list[Row] = []
        for row in rows:
            line = lines[row["stream"]]
            line.walk.step(row)
            if line.walk.faults:
                raise _broken(line.walk)
            line.at = row["at"]
            if row["seq"] > line.have:
                fresh.append(row)
        if fresh:
            await target.write(partial(_add, lines, fresh))
            count += len(fresh)
    for line in lines.values():
        line.walk.end(line.head)
        if line.walk.faults:
            raise _broken(line.walk)
    await target.write(partial(_heads, list(lines.values())))
    return count


def _add(lines: dict[str, _Line], rows: list[Row], tx: Tx) -> None:
    last = tx.run("event_last")[0]["last"]
    placed: list[tuple[int, int]] = []
    for row in rows:
        line, last = lines[row["stream"]], last + 1
        placed.append((last, line.last))
        line.last = last
    ids = {name: tx.run("stream_put", **lines[name].row())[0]["id"] for name in {row["stream"] for row in rows}}
    tx.run_many(
        "event_add",
        [
            (place, ids[row["stream"]], row["seq"], prev, row["at"], row["epoch"], row["hash"], row["body"])
            for row, (place, prev) in zip(rows, placed, strict=True)
        ],
    )


def _heads(lines: list[_Line], tx: Tx) -> None:
    """Also of streams that were claimed and never written, and of those whose records were pruned."""
    for line in lines:
        tx.run("stream_put", **line.row())


def _broken(walk: Walk) -> BadInput:
    fault = walk.faults[0]
    return _damaged(f"{fault.stream}, record {fault.seq}: {fault.problem}")


def _damaged(why: str) -> BadInput:
    return BadInput("What is to be brought here was changed or is damaged", why=why, fix="quarterdeck db check")
