"""The composition root. Settings become a running deck here, and nowhere else are rooms wired together."""

from quarterdeck.assembly.deck import Deck, open_deck
from quarterdeck.assembly.doctor import probe_unopened
from quarterdeck.assembly.served import open_served

__all__ = ["Deck", "open_deck", "open_served", "probe_unopened"]
