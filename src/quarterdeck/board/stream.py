"""The board as Server-Sent Events, without any server: bytes in the order in which a viewer needs them.

Rules
- A stream begins with a snapshot, or with a delta where the viewer names the last thing it has seen and everything
  after it is still remembered. Then deltas follow.
- A viewer that reads slowly gets what changed meanwhile as one delta; one that was away for too long, a fresh snapshot.
  There is never a gap.
- Viewers that want the same get the same bytes, made once.
- Where nothing happens, a comment every `PING` seconds shows that the connection lives.

The form is that of the HTML standard, section "Server-sent events".
"""

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from typing import Final

from quarterdeck.board.live import Live
from quarterdeck.board.port import Topic

PING: Final = 15.0
"""Seconds."""
RETRY_MS: Final = 1000
"""How soon a viewer should come back after the connection broke, milliseconds."""
_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Watch:
    """What a viewer wants to see."""

    topics: frozenset[Topic]
    run: str | None = None


def topics_of(text: str) -> frozenset[Topic]:
    """The topics of a list with commas; empty = all. Raises ValueError, naming one that there is not."""
    return frozenset(Topic(name.strip()) for name in text.split(",") if name.strip()) or frozenset(Topic)


def seen_of(text: str | None) -> int | None:
    """The number in a `Last-Event-ID`; None where there is none that could be ours."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None


def message(event: str, seq: int, data: str) -> bytes:
    """One event. `data`: JSON in one line."""
    return f"event: {event}\nid: {seq}\ndata: {data}\n\n".encode()


class Streams:
    """Streams of one board."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._made: dict[tuple[int, int, Collection[Topic], str | None], bytes] = {}

    async def open(self, watch: Watch, seen: int | None = None) -> AsyncGenerator[bytes, None]:
        """What to send to one viewer, from now on. Never ends by itself; close it when the viewer has gone. `seen`: the
        last number that it has. Raises NotFound where the run that it follows is not there."""
        if watch.run is not None:
            await self._live.follow(watch.run)
        try:
            await self._live.ready()
            yield f"retry: {RETRY_MS}\n\n".encode()
            if seen is None or self._live.since(seen) is None or watch.run is not None:
                # Tasks are remembered only while they are followed: whoever comes back to a run needs all of them.
                seen = self._live.seq
                yield self._snapshot(watch)
            while True:
                if not await self._live.changed(seen, PING):
                    yield b": ping\n\n"
                    continue
                before, seen = seen, self._live.seq
                if self._live.since(before) is None:
                    yield self._snapshot(watch)
                elif data := self._delta(before, watch):
                    yield data
        finally:
            if watch.run is not None:
                self._live.leave(watch.run)

    def _snapshot(self, watch: Watch) -> bytes:
        key = (-1, self._live.seq, watch.topics, watch.run)
        if key not in self._made:
            shot = self._live.snapshot(watch.topics, watch.run)
            self._keep(key, message("snapshot", shot.seq, shot.model_dump_json()))
        return self._made[key]

    def _delta(self, before: int, watch: Watch) -> bytes:
        """Empty = nothing of what the viewer wants has changed."""
        key = (before, self._live.seq, watch.topics, watch.run)
        if key not in self._made:
            changed = self._live.delta(before, watch.topics, watch.run)
            data = b"" if changed is None else message("delta", changed.seq, changed.model_dump_json())
            self._keep(key, data)
        return self._made[key]

    def _keep(self, key: tuple[int, int, Collection[Topic], str | None], data: bytes) -> None:
        while len(self._made) >= _KEPT:
            del self._made[next(iter(self._made))]
        self._made[key] = data
