"""Taking old runs out of the record so that what is left can still be proved.

Rules
- A run goes whole or not at all: its stream, and those of its attempts, approvals, messages and results; and only where
  it has ended.
- Before anything goes, the chains of what goes are computed and held against the anchored heads. Where they do not
  hold, nothing goes.
- What goes is named in the deck's own stream with the end that each stream had, in the same transaction. Verification
  takes that in the place of the records, and nothing else.
- Names, epochs and ends of streams stay: nothing can be written as if it had always stood there.
- Bodies that nothing names any more are swept only while nobody else is at work: whoever is at work knows of bodies
  that it does not store again. Whatever looks like a name of a body counts as one.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Verification
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import RunsPruned
from quarterdeck.kernel.failures import Conflicting, NotFound
from quarterdeck.store.blobs import unpack
from quarterdeck.store.port import Store, Tx

AT_ONCE: Final = 50
"""Runs that go in one transaction."""
_PAGE: Final = 1000
_DIGEST: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_TABLES: Final = ("run", "tasks", "attempts", "costs", "notes", "incidents", "approvals")


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was taken out."""

    runs: int = 0
    streams: int = 0
    records: int = 0
    blobs: int = 0


def chosen(ended: Sequence[tuple[str, float]], before: float | None, keep: int | None) -> list[str]:
    """Which runs go, of those that have ended, the newest first: those that ended before a moment (seconds since the
    epoch), and beyond the newest `keep`; where both are said, those that are both. Pure."""
    beyond = ended if keep is None else ended[keep:]
    return [run for run, at in beyond if before is None or at < before]


async def prune(store: Store, journal: Log, runs: Sequence[str], by: str) -> Pruned:
    """Take these runs out, which have ended. Raises Conflicting where their chains do not hold or one goes on."""
    total = Pruned()
    for first in range(0, len(runs), AT_ONCE):
        some = runs[first : first + AT_ONCE]
        ends = await _ends(store, journal, some)
        records = sum(seq for seq, _ in ends.values())
        blob = await journal.put(json.dumps(ends, sort_keys=True).encode())
        event = RunsPruned(runs=len(some), streams=len(ends), records=records, ends_blob=blob, by=by)
        claim = await journal.claim(ids.DECK_STREAM)
        await journal.append(claim, event, also=partial(_take_out, some, ends))
        total = Pruned(total.runs + len(some), total.streams + len(ends), total.records + records)
    if total.runs:
        await journal.anchor(await journal.claim(ids.DECK_STREAM))
    return total


async def _ends(store: Store, journal: Log, runs: Sequence[str]) -> dict[str, tuple[int, str]]:
    """The streams of these runs and where they end, proved."""
    ends: dict[str, tuple[int, str]] = {}
    for run in runs:
        for prefix in _prefixes(run):
            heads = await store.read("stream_heads", prefix=prefix)
            own = {row["name"]: (row["seq"], row["hash"].hex()) for row in heads if _of(row["name"], run)}
            if own:
                _must_hold(await journal.verify(prefix), run)
            ends |= own
    return ends


def _prefixes(run: str) -> tuple[str, ...]:
    return (
        ids.run_stream(run),
        ids.attempt_stream(f"{run}."),
        ids.mail_stream(f"{run}."),
        ids.approval_stream(run, ""),
        ids.publish_stream(run),
    )


def _of(stream: str, run: str) -> bool:
    """Whether a stream with a prefix of the run's is the run's: r-1 is the beginning of r-10 too."""
    name = stream.partition("/")[2]
    return name == run or name.startswith(f"{run}.")


def _must_hold(found: Verification, run: str) -> None:
    if found.faults:
        fault = found.faults[0]
        raise Conflicting(
            f"The record of {run} was changed: {fault.stream}, record {fault.seq}: {fault.problem}",
            why="what cannot be proved is not taken out",
            fix="quarterdeck audit verify",
        )


def _take_out(runs: Sequence[str], ends: dict[str, tuple[int, str]], tx: Tx) -> None:
    heads = {row["name"]: row for row in tx.run("stream_heads_of", names=json.dumps(list(ends)))}
    for stream, (seq, digest) in ends.items():
        if (heads[stream]["seq"], heads[stream]["hash"].hex()) != (seq, digest):
            raise Conflicting(f"{stream} goes on while it is taken out", fix="quarterdeck db prune, later")
        tx.run("prune_stream", stream=stream)
    for run in runs:
        for table in _TABLES:
            tx.run(f"prune_{table}", run=run)


# --- bodies -----------------------------------------------------------------------------------------------------


async def sweep(store: Store, journal: Log) -> int:
    """Remove bodies that nothing names any more; how many. Nobody else may work on the deck meanwhile."""
    named = await _named(store, journal)
    dropped = after = 0
    while rows := await store.read("blob_digests", after=after, limit=_PAGE):
        after = rows[-1]["id"]
        loose = [{"digest": row["digest"]} for row in rows if bytes(row["digest"]) not in named]
        if loose:
            await store.write(partial(_drop, loose))
            dropped += len(loose)
    return dropped


def _drop(loose: Sequence[dict[str, bytes]], tx: Tx) -> None:
    tx.run_many("blob_drop", loose)


async def _named(store: Store, journal: Log) -> set[bytes]:
    """The digests of all bodies that events name, and of those that these bodies name, and so on."""
    named: set[bytes] = set()
    new = {digest for row in await store.read("blob_texts") for digest in _digests(str(row["text"]).encode())}
    after = 0
    while rows := await store.read("events_all", prefix="", after=after, limit=_PAGE):
        after = rows[-1]["id"]
        for row in rows:
            new |= _digests(row["body"])
    while new:
        named |= new
        found: set[bytes] = set()
        for digest in new:
            found |= await _inside(store, digest)
        new = found - named
    return named


async def _inside(store: Store, digest: bytes) -> set[bytes]:
    rows = await store.read("blob_get", digest=digest)
    return _digests(unpack(rows[0]["codec"], rows[0]["body"])) if rows else set()


def _digests(text: bytes) -> set[bytes]:
    return {bytes.fromhex(name.decode()) for name in _DIGEST.findall(bytes(text))}


async def ended(store: Store, run: str | None = None) -> list[tuple[str, float]]:
    """The runs that have ended, the newest end first, with when that was; or that one. Raises NotFound."""
    rows = [(row["run"], row["finished_at"]) for row in await store.read("prune_candidates")]
    if run is None:
        return rows
    mine = [row for row in rows if row[0] == run]
    if not mine:
        raise NotFound(f"There is no ended run {run}", fix="quarterdeck ps")
    return mine
