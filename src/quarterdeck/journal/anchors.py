"""Anchors: where the chains stood, put on record in the deck's own stream from time to time.

Rules
- An anchor names the streams that have moved since the one before it, and not the deck's own, which it stands in. So
  what all anchors hold grows with what was written between them, not with the age of the deck.
- Of a stream that several anchors name, the one with the most records holds; of two with as many, the first.
- How far anchors reach is kept in the transaction of the anchor. Where that is not known (after an import), the next
  one names every stream.
- A large anchor is several, so that none keeps other writers waiting for long.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Final

from quarterdeck.journal.deck import places, said
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import DeckAnchored
from quarterdeck.store.port import Reads, Tx

AT_ONCE: Final = 20_000
"""Most streams that one anchor names: some 2 MB."""

Heads = dict[str, tuple[int, str]]
"""By stream: the number and the hash, in hex, of a record."""


async def anchor(store: Reads, journal: Journal, claim: Claim, wall: Callable[[], float]) -> None:
    """Put on record where the streams stand that have moved. Raises StaleClaim, StoreUnavailable."""
    while True:
        moved, counted = await store.reads(
            ("heads_moved", {"deck": ids.DECK_STREAM, "limit": AT_ONCE}), ("heads_count", {"deck": ids.DECK_STREAM})
        )
        if not moved:
            return
        heads = {row["name"]: [row["seq"], row["hash"].hex()] for row in moved}
        blob = await journal.put(json.dumps(heads, sort_keys=True).encode())
        reached = partial(_reached, moved[-1]["last"], wall(), counted[0]["n"])
        await journal.append(claim, DeckAnchored(heads_blob=blob, streams=len(heads)), also=reached)
        if len(moved) < AT_ONCE:
            return


def _reached(until: int, at: float, streams: int, tx: Tx) -> None:
    tx.run("anchored_set", until=until, at=at, streams=streams)


async def due(store: Reads, now: float, seconds: float) -> bool:
    """Whether no anchor was made in the last `seconds`, or one in the future of `now`: then a clock was wrong."""
    rows = await store.read("anchored")
    return not rows or not 0 <= now - rows[0]["at"] < seconds


async def anchored(store: Reads) -> Heads:
    """What all anchors say together. Raises ValueError where one cannot be read."""
    heads: Heads = {}
    async for event in said(store, DeckAnchored):
        fold(heads, await places(store, event.heads_blob))
    return heads


def fold(heads: Heads, later: Heads) -> None:
    """Take a later anchor over into what the earlier ones say. Pure but for `heads`."""
    for name, head in later.items():
        if name not in heads or head[0] > heads[name][0]:
            heads[name] = head
