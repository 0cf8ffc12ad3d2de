"""Taking old runs out of the record so that what is left can still be proved.

Rules
- A run goes whole or not at all: its stream, those of its attempts, approvals, messages and results, and its rows in
  every table but those of days; and only where it has ended and no job of it is left.
- Before anything goes, the chains of what goes are computed and held against the anchored heads. Where they do not
  hold, nothing of that run goes.
- What goes is named in the deck's own stream with the end that each stream had, in the same transaction. Verification
  takes that in the place of the records, and nothing else.
- Names and ends of streams stay: nothing can be written as if it had always stood there. Claims of them are worth
  nothing any more, and whoever claims one anew goes on after its end.
- Bodies that nothing names any more are swept only by whoever has the database alone (`Store.sole`): whoever is at work
  knows of bodies that it does not store again. Whatever looks like a name of a body counts as one. What led to a commit
  by a body that goes leads there by one that stays, where there is one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from quarterdeck.journal.anchors import Heads
from quarterdeck.journal.changes import Set
from quarterdeck.journal.deck import note
from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Also, ChainFault, Claim
from quarterdeck.journal.projections import kept
from quarterdeck.journal.proof import grounds, prove
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import RunsPruned, decode
from quarterdeck.kernel.events.packs import PackKept
from quarterdeck.kernel.failures import Conflicting, NotFound
from quarterdeck.store.blobs import unpack
from quarterdeck.store.port import Store, Tx

AT_ONCE: Final = 50
"""Runs that go in one transaction."""
_PAGE: Final = 1000
_DIGEST: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_PACK: Final = b'{"kind":"pack.kept"'
_TABLES: Final = (
    *("run", "tasks", "attempts", "costs", "notes", "incidents", "approvals", "waits", "notices", "origins"),
    *("touches", "intents", "snapshots", "starts", "purses"),
)


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
    faults: list[ChainFault] = []
    anchors, _ = await grounds(store, faults)
    _must_hold(faults, "the deck")
    for first in range(0, len(runs), AT_ONCE):
        some = runs[first : first + AT_ONCE]
        ends = await _ends(store, anchors, some)
        records = sum(seq for seq, _ in ends.values())
        blob = await journal.put(json.dumps(ends, sort_keys=True).encode())
        event = RunsPruned(runs=len(some), streams=len(ends), records=records, ends_blob=blob, by=by)
        await note(journal, partial(_gone, journal, event, partial(_take_out, some, ends)))
        total = Pruned(total.runs + len(some), total.streams + len(ends), total.records + records)
    if total.runs:
        await note(journal, journal.anchor)
    return total


async def _gone(journal: Log, event: RunsPruned, also: Also, claim: Claim) -> None:
    await journal.append(claim, event, also=also)


async def _ends(store: Store, anchors: Heads, runs: Sequence[str]) -> dict[str, tuple[int, str]]:
    """The streams of these runs and where they end, proved."""
    ends: dict[str, tuple[int, str]] = {}
    for run in runs:
        for prefix in _prefixes(run):
            for head in await store.read("stream_heads", prefix=prefix):
                if _of(head["name"], run):
                    _must_hold((await prove(store, head, anchors.get(head["name"]), None)).faults, run)
                    ends[head["name"]] = (head["seq"], head["hash"].hex())
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


def _must_hold(faults: Sequence[ChainFault], what: str) -> None:
    if faults:
        fault = faults[0]
        raise Conflicting(
            f"The record of {what} was changed: {fault.stream}, record {fault.seq}: {fault.problem}",
            why="what cannot be proved is not taken out",
            fix="quarterdeck audit verify",
        )


def _take_out(runs: Sequence[str], ends: dict[str, tuple[int, str]], tx: Tx) -> None:
    for row in tx.run("prune_busy", runs=json.dumps(runs)):
        raise Conflicting(f"Something of {row['run']} is left to do", fix="quarterdeck db prune, later")
    heads = {row["name"]: row for row in tx.run("stream_heads_of", names=json.dumps(list(ends)))}
    for stream, (seq, digest) in ends.items():
        if (heads[stream]["seq"], heads[stream]["hash"].hex()) != (seq, digest):
            raise Conflicting(f"{stream} goes on while it is taken out", fix="quarterdeck db prune, later")
        tx.run("prune_stream", stream=stream)
        tx.run("prune_head", stream=stream)
    for run in runs:
        for table in _TABLES:
            tx.run(f"prune_{table}", run=run)


# --- bodies -----------------------------------------------------------------------------------------------------


async def sweep(store: Store, journal: Log) -> int:
    """Remove bodies that nothing names any more; how many. For whoever has the store alone."""
    named, packs = await _named(store)
    await _lead(store, named, packs)
    dropped = after = 0
    try:
        while rows := await store.read("blob_digests", after=after, limit=_PAGE):
            after = rows[-1]["id"]
            loose = [{"digest": row["digest"]} for row in rows if bytes(row["digest"]) not in named]
            if loose:
                await store.write(partial(_run_many, "blob_drop", loose))
                dropped += len(loose)
    finally:
        journal.forget()
    return dropped


def _run_many(statement: str, rows: Sequence[Mapping[str, object]], tx: Tx) -> None:
    tx.run_many(statement, rows)


async def _lead(store: Store, named: set[bytes], packs: Mapping[str, Set]) -> None:
    """Have no row lead to a body that goes; to its commit then leads another pack, if one is kept."""
    stale = [{"commit": row["commit_sha"]} for row in await store.read("packs_led") if _loose(row["blob"], named)]
    others = [packs[row["commit"]].values for row in stale if row["commit"] in packs]
    lost = [{"workspace": row["workspace"]} for row in await store.read("snapshots_led") if _loose(row["blob"], named)]

    def lead(tx: Tx) -> None:
        tx.run_many("pack_drop", stale)
        tx.run_many("project_pack", others)
        tx.run_many("snapshot_drop", lost)

    if stale or lost:
        await store.write(lead)


def _loose(blob: str, named: set[bytes]) -> bool:
    return bool(blob) and bytes.fromhex(blob) not in named


async def _named(store: Store) -> tuple[set[bytes], dict[str, Set]]:
    """The digests of all bodies that events name, and of those that these bodies name, and so on; and by commit, the
    newest pack that leads there."""
    named: set[bytes] = set()
    packs: dict[str, Set] = {}
    new = {digest for row in await store.read("blob_texts") for digest in _digests(str(row["text"]).encode())}
    after = 0
    while rows := await store.read("events_all", prefix="", after=after, limit=_PAGE):
        after = rows[-1]["id"]
        for row in rows:
            new |= _digests(row["body"])
            if row["body"].startswith(_PACK) and isinstance(event := decode(row["body"]), PackKept):
                packs[event.commit] = kept(row["at"], event)
    while new:
        named |= new
        found: set[bytes] = set()
        for digest in new:
            found |= await _inside(store, digest)
        new = found - named
    return named, packs


async def _inside(store: Store, digest: bytes) -> set[bytes]:
    rows = await store.read("blob_get", digest=digest)
    return _digests(unpack(rows[0]["codec"], rows[0]["body"])) if rows else set()


def _digests(text: bytes) -> set[bytes]:
    return {bytes.fromhex(name.decode()) for name in _DIGEST.findall(bytes(text))}


async def ended(store: Store, run: str | None = None) -> list[tuple[str, float]]:
    """The runs that have ended and of which no job is left, the newest end first, with when that was; or that one.
    Raises NotFound."""
    rows = [(row["run"], row["finished_at"]) for row in await store.read("prune_candidates")]
    if run is None:
        return rows
    mine = [row for row in rows if row[0] == run]
    if not mine:
        raise NotFound(f"There is no ended run {run}", fix="quarterdeck ps")
    return mine
