"""The deck's own stream, which every process of the deck writes to: how it is written, and how it is read.

Rules
- Whoever was overtaken there claims it anew and tries again: what is said there depends on nothing that others say.
- It is read as bytes, and only what was asked for is decoded: it may be long.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from quarterdeck.journal.port import Claim, Journal
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import EventBase, decode
from quarterdeck.kernel.failures import StaleClaim
from quarterdeck.store.blobs import unpack
from quarterdeck.store.port import Reads

E = TypeVar("E", bound=EventBase)

_PAGE: Final = 1000


async def note(journal: Journal, append: Callable[[Claim], Awaitable[None]]) -> None:
    """Say something there: `append` gets a claim of the stream, and another one for each time it was overtaken."""
    while True:
        try:
            await append(await journal.claim(ids.DECK_STREAM))
            return
        except StaleClaim:
            continue


async def said(store: Reads, kind: type[E]) -> AsyncIterator[E]:
    """The events of that kind, oldest first."""
    head = f'{{"kind":"{kind.model_fields["kind"].default}"'.encode()
    after = 0
    while rows := await store.read("events_of", stream=ids.DECK_STREAM, after=after, limit=_PAGE):
        after = rows[-1]["seq"]
        for row in rows:
            if isinstance(row["body"], bytes) and row["body"].startswith(head):
                event = decode(row["body"])
                assert isinstance(event, kind)  # its head says so
                yield event


async def places(store: Reads, digest: str) -> dict[str, tuple[int, str]]:
    """What an event there has as a body: by stream, the number and the hash, in hex, of a record. Raises ValueError
    where it is not stored, or says something else."""
    found = await store.read("blob_get", digest=bytes.fromhex(digest))
    if not found:
        raise ValueError(f"the blob {digest} is not stored")
    named = json.loads(unpack(found[0]["codec"], found[0]["body"]))
    if not isinstance(named, dict):
        raise ValueError(f"the blob {digest} names no streams")
    return {name: (seq, digest) for name, (seq, digest) in named.items()}
