"""What concerns the deck as a whole."""

from typing import Literal

from quarterdeck.kernel.events.base import Blob, EventBase

# --- deck -------------------------------------------------------------------------------------------------


class DeckOwned(EventBase):
    """A process became the owner of the deck's embedded engine."""

    kind: Literal["deck.owned"] = "deck.owned"
    owner: str
    pid: int
    host: str
    version: str


class DeckAnchored(EventBase):
    """Where the streams stood that had moved since the anchor before, so that a truncated stream is noticed."""

    kind: Literal["deck.anchored"] = "deck.anchored"
    heads_blob: Blob
    """JSON: by stream, the number and the hash (hex) of its last record."""
    streams: int
    """How many they are."""


class RunsPruned(EventBase):
    """The records of runs that had ended were taken out. Of each of their streams, its end is left."""

    kind: Literal["runs.pruned"] = "runs.pruned"
    runs: int
    """How many."""
    streams: int
    """How many streams they had."""
    records: int
    """How many records these had."""
    ends_blob: Blob
    """JSON: by stream, the number and the hash (hex) of its last record."""
    by: str


DeckEvent = DeckOwned | DeckAnchored | RunsPruned
