"""Which streams were taken out of the record, and where each ended: what the deck's own stream says of it.

Rules
- The stream is read as bytes, and only what is about this is decoded: it may be long.
"""

import json
from typing import Final

from quarterdeck.kernel import ids
from quarterdeck.kernel.events import RunsPruned, decode
from quarterdeck.store.blobs import unpack
from quarterdeck.store.port import Store

_PAGE: Final = 1000
_KIND: Final = b'{"kind":"runs.pruned"'

Ends = dict[str, tuple[int, bytes]]
"""By stream: the number and the hash of its last record."""


async def pruned(store: Store) -> Ends:
    """The streams whose records are gone, and where they ended. Raises ValueError where that cannot be read."""
    ends: Ends = {}
    after = 0
    while rows := await store.read("events_of", stream=ids.DECK_STREAM, after=after, limit=_PAGE):
        after = rows[-1]["seq"]
        for row in rows:
            if not bytes(row["body"]).startswith(_KIND):
                continue
            event = decode(row["body"])
            assert isinstance(event, RunsPruned)  # its kind says so
            found = await store.read("blob_get", digest=bytes.fromhex(event.ends_blob))
            if not found:
                raise ValueError(f"the ends of pruned streams, {event.ends_blob}, are not stored")
            named = json.loads(unpack(found[0]["codec"], found[0]["body"]))
            ends |= {name: (seq, bytes.fromhex(digest)) for name, (seq, digest) in named.items()}
    return ends
