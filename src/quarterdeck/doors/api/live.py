"""What the deck shows live, over HTTP: once, and as a stream.

Rules
- Lists are as of the last frame of the board, at most a quarter of a second old while something happens.
- The stream sends what the board makes, as fast as its reader takes it: a reader that is slow holds up nobody.
- It ends where its reader would not be let in any more: asked before everything that is sent, pings among it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from quarterdeck.board.port import AgentRow, DeckRow, GateRow, NeedRow, RunRow, Snapshot, Topic
from quarterdeck.board.stream import Watch, seen_of
from quarterdeck.doors.api.context import Behind
from quarterdeck.doors.api.guard import STILL, Receive, Scope, Send
from quarterdeck.kernel.failures import StoreUnavailable

router: Final = APIRouter(tags=["live"])

Run = Annotated[
    str | None,
    Query(pattern=r"^r-[0-9a-z]+$", max_length=64, description="A run whose tasks are shown too."),
]
Topics = Annotated[
    str,
    Query(
        pattern=rf"^({'|'.join(Topic)})(,({'|'.join(Topic)})){{0,11}}$",
        description="What to show, with commas between.",
    ),
]
_EVERYTHING: Final = ",".join(Topic)
_READY_SECONDS: Final = 20.0
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-Sent Events: `snapshot` (a `Snapshot`), then `delta` (a `Delta`); `id` is their `seq`.",
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "string",
                    "x-events": {
                        "snapshot": {"$ref": "#/components/schemas/Snapshot"},
                        "delta": {"$ref": "#/components/schemas/Delta"},
                    },
                }
            }
        },
    }
}


async def _shot(behind: Behind, topic: Topic) -> Snapshot:
    await _ready(behind)
    return behind.shown.live.snapshot((topic,))


async def _ready(behind: Behind) -> None:
    """Raises StoreUnavailable where the board cannot be read for too long."""
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await behind.shown.live.ready()
    except TimeoutError:
        raise StoreUnavailable("the board is not ready", fix="quarterdeck doctor") from None


@router.get("/deck")
async def deck(behind: Behind) -> DeckRow:
    """The deck as a whole."""
    found = (await _shot(behind, Topic.DECK)).deck
    if found is None:
        raise StoreUnavailable("the board is not ready", fix="quarterdeck doctor")
    return found


@router.get("/runs")
async def runs(behind: Behind) -> tuple[RunRow, ...]:
    """Runs that have not ended and the newest that have, the newest first."""
    return (await _shot(behind, Topic.RUNS)).runs


@router.get("/agents")
async def agents(behind: Behind) -> tuple[AgentRow, ...]:
    """Attempts at which an agent works."""
    return (await _shot(behind, Topic.AGENTS)).agents


@router.get("/needs")
async def needs(behind: Behind) -> tuple[NeedRow, ...]:
    """What needs a person, the highest rank first, once for each cause."""
    return (await _shot(behind, Topic.NEEDS)).needs


@router.get("/gates")
async def gates(behind: Behind) -> tuple[GateRow, ...]:
    """Merge gates: what is tested on top of what, what landed, what was sent back."""
    return (await _shot(behind, Topic.GATES)).gates


@router.get("/snapshot")
async def snapshot(behind: Behind, topics: Topics = _EVERYTHING, run: Run = None) -> Snapshot:
    """Everything of these topics at one moment."""
    await _ready(behind)
    wanted = frozenset(map(Topic, topics.split(",")))
    if run is None:
        return behind.shown.live.snapshot(wanted)
    await behind.shown.live.follow(run)
    try:
        return behind.shown.live.snapshot(wanted, run)
    finally:
        behind.shown.live.leave(run)


@router.get("/stream", response_class=Response, responses=_STREAM)
async def stream(
    behind: Behind,
    topics: Topics = _EVERYTHING,
    run: Run = None,
    last_event_id: Annotated[str | None, Header(max_length=40, description="Go on behind this `id`.")] = None,
) -> Response:
    """A snapshot, then what changes, at most four times a second. It ends where the token was taken back."""
    await _ready(behind)
    watch = Watch(frozenset(map(Topic, topics.split(","))), run)
    made = behind.shown.streams.open(watch, seen_of(last_event_id))
    return EventStream(await anext(made), made)


class EventStream(Response):
    """Sends what a stream makes until its reader goes away, and closes it then."""

    media_type = "text/event-stream"

    def __init__(self, first: bytes, made: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._made = made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._made) as made:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            sending = asyncio.create_task(_send(self._first, made, send, scope[STILL]))
            gone = asyncio.create_task(_gone(receive))
            try:
                await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sending.cancel()
                gone.cancel()
                await asyncio.gather(sending, gone, return_exceptions=True)


async def _send(first: bytes, made: AsyncIterator[bytes], send: Send, still: Callable[[], bool]) -> None:
    await send({"type": "http.response.body", "body": first, "more_body": True})
    async for part in made:
        if not still():
            break
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
