"""Virtual keys: whom a call belongs to, and what it may do.

Rules
- A key is random, lives in this process only, and is compared without telling how much of it was right.
- What a key's calls came to is counted here as well as in the journal: the bounds of its number and tokens need no
  reading.
- The bound of turns counts calls that are about to leave too: many at once cannot pass it together.
- A key that is dead stays known, so that whoever still uses it is told why.
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Final

from quarterdeck.gateway.port import Grant, Metering, Stopped
from quarterdeck.kernel.entities import Usage
from quarterdeck.models.factory import Models

PREFIX: Final = "qd-"
_DEAD_KEPT: Final = 1_000


@dataclass(slots=True)
class Key:
    """One virtual key and what became of it so far."""

    secret: str
    grant: Grant
    step: int = 0
    """The last step of the attempt that has a call on record."""
    metering: Metering = field(default_factory=Metering)
    dead: str | None = None
    """Why it is no longer good."""
    calls: set[asyncio.Task[None]] = field(default_factory=set)
    """Those under way."""
    closing: set[asyncio.Task[None]] = field(default_factory=set)
    """What is being put on record of calls that are over."""
    claims: int = 0
    """Turns that calls hold which have not left yet."""
    rates: dict[str, float] = field(default_factory=dict)
    """Bytes for a token of its prompts, by model, as measured. Its own: what one agent sends makes nobody else's calls
    look dearer."""
    measuring: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the request whose documents are read beside the loop: one of a key at a time."""
    models: Models | None = None
    """The ways to providers as its configuration has them; made by its first call."""

    def why_dead(self) -> str | None:
        """Why it is no longer good; None = it is."""
        return self.dead

    def next_step(self) -> int:
        self.step += 1
        return self.step

    def spend(self, usage: Usage, nusd: int) -> None:
        """A call is over."""
        now = self.metering
        self.metering = replace(now, usage=now.usage + usage, nusd=now.nusd + nusd)

    def claim(self) -> "Claimed":
        """Hold a turn for a call until it leaves or will not leave. Nothing may be awaited between `bound` and this."""
        return Claimed(self)

    def leave(self) -> None:
        """A call leaves."""
        self.metering = replace(self.metering, calls=self.metering.calls + 1, stopped=None)

    def stop(self, stopped: Stopped) -> None:
        self.metering = replace(self.metering, stopped=stopped)

    def bound(self) -> Stopped | None:
        """The bound of its own that is used up."""
        grant, used = self.grant, self.metering
        if grant.turns is not None and used.calls + self.claims >= grant.turns:
            return Stopped("turns", f"the limit of {grant.turns} model calls was reached", run=False)
        fresh = used.usage.input + used.usage.cache_write + used.usage.output
        if grant.tokens is not None and fresh >= grant.tokens:
            return Stopped("tokens", f"the limit of {grant.tokens} tokens was reached", run=False)
        return None


class Claimed:
    """A turn that is held within the block."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def __enter__(self) -> None:
        self._key.claims += 1

    def __exit__(self, *_: object) -> None:
        self._key.claims -= 1


class Keys:
    """All keys of this process."""

    def __init__(self) -> None:
        self._keys: dict[bytes, Key] = {}
        self._dead: OrderedDict[bytes, None] = OrderedDict()

    def make(self, grant: Grant, step: int) -> Key:
        """A new key. `step`: the last one of the attempt that is on record."""
        key = Key(PREFIX + secrets.token_urlsafe(32), grant, step)
        self._keys[_name(key.secret)] = key
        return key

    def find(self, secret: str) -> Key | None:
        """The key, also a dead one."""
        return self._keys.get(_name(secret))  # by its digest: how long it takes says nothing about the secret

    def bury(self, key: Key, why: str) -> None:
        """The key is no longer good. The oldest dead ones are forgotten."""
        if key.dead is None:
            key.dead = why
            self._dead[_name(key.secret)] = None
        while len(self._dead) > _DEAD_KEPT:
            self._keys.pop(self._dead.popitem(last=False)[0], None)

    def living(self) -> list[Key]:
        return [key for key in self._keys.values() if key.dead is None]


def _name(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
