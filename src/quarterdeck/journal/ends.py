"""Which streams were taken out of the record, and where each ended: what the deck's own stream says of it."""

from quarterdeck.journal.deck import places, said
from quarterdeck.kernel.events import RunsPruned
from quarterdeck.store.port import Reads

Ends = dict[str, tuple[int, bytes]]
"""By stream: the number and the hash of its last record."""


async def pruned(store: Reads) -> Ends:
    """The streams whose records are gone, and where they ended. Raises ValueError where that cannot be read."""
    ends: Ends = {}
    async for event in said(store, RunsPruned):
        named = await places(store, event.ends_blob)
        ends |= {name: (seq, bytes.fromhex(digest)) for name, (seq, digest) in named.items()}
    return ends
