"""What is learned of a request before anything is set aside for it.

Rules
- Others do not wait for what takes long. A request of few values that holds little beside text is looked at at once;
  any other one beside the loop, one request of a key at a time. Where nobody waits for it any more that ends soon, and
  the next one begins when it has.
- All of it is looked through here: whoever asks for it later has it at hand.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from quarterdeck.gateway import inline, wires
from quarterdeck.gateway.allowance import Allowance
from quarterdeck.gateway.inline import Piece
from quarterdeck.gateway.keys import Key
from quarterdeck.gateway.unmetered import unmetered
from quarterdeck.gateway.wires import Asked

FEW: Final = 20_000
"""Values that are looked at in some tens of milliseconds."""


@dataclass(frozen=True, slots=True)
class Understood:
    """What is known of a request."""

    unmetered: str
    """Why it may not leave; "" = it may."""
    pieces: tuple[Piece, ...] = ()
    """What lies in it beside text."""


async def understood(key: Key, asked: Asked) -> Understood:
    """What there is to know of a request that came with that key."""
    if len(asked.raw) <= FEW or wires.values(asked.raw) <= FEW:
        found = _look(asked, at_once := Allowance(inline.AT_ONCE))
        if not at_once.spent:
            return found
    async with key.measuring:
        allowance = inline.allowance(len(asked.raw))
        looking = asyncio.ensure_future(asyncio.to_thread(_look, asked, allowance))
        try:
            return await asyncio.shield(looking)
        finally:
            allowance.end()
            await asyncio.wait([looking])  # until then it holds the request, which nobody may count as gone


def _look(asked: Asked, may: Allowance) -> Understood:
    if why := unmetered(asked):
        return Understood(why)
    asked.look_through()
    return Understood("", inline.pieces(asked.wire, asked.body, may))
