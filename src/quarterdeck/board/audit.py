"""Looking things up in the journal, and what is known about its chains.

Rules
- A search looks at a bounded number of records, newest first, and says how far it looked and how to go on: the journal
  may hold millions.
- One stream is searched along its own chain. Everything else is searched in the order of the commits.
- A text is looked for as it stands in the record, upper and lower case apart.
"""

import json
from typing import Any, Final

from quarterdeck.board.answers import ChainStatus, EventRow, Found
from quarterdeck.store.port import Row, Store

LOOK: Final = 20_000
"""Records that one search looks at."""
MOST: Final = 500


class Audit:
    """One deck's journal, for people."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def events(
        self, *, stream: str = "", kind: str = "", text: str = "", before: int | None = None, limit: int = 100
    ) -> Found:
        """Records, the newest first. `stream`: a stream's name, or its beginning. `kind`: as events name it. `text`:
        what the record holds. `before`: the `before` of an earlier answer."""
        last = int((await self._store.read("event_last"))[0]["last"])
        before = last + 1 if before is None else max(1, min(before, last + 1))
        limit = max(1, min(limit, MOST))
        head = f'{{"kind":"{kind}"'.encode() if kind else b""
        asks: dict[str, Any] = {
            "before": before,
            "look": LOOK,
            "limit": limit,
            "head": head,
            "size": len(head),
            "text": _written(text) if text else b"",
        }
        if stream and await self._store.read("stream_known", stream=stream):
            return await self._in_stream(stream, asks)
        between = {"first": stream, "last": f"{stream}\U0010ffff"}
        rows = await self._store.read("search_all", **asks, **between)
        least = max(1, before - LOOK)
        full = len(rows) >= limit
        end = rows[-1]["id"] if full else least
        return Found(
            events=tuple(_event(row["stream"], row) for row in rows),
            before=end if end > 1 else None,
            looked=before - end,
        )

    async def _in_stream(self, stream: str, asks: dict[str, Any]) -> Found:
        extent = {name: asks[name] for name in ("before", "look")}
        rows, ends = await self._store.reads(
            ("search_stream", {**asks, "stream": stream}), ("search_stream_end", {**extent, "stream": stream})
        )
        looked, least, earlier = ends[0]["looked"], ends[0]["least"], ends[0]["prev"]
        if len(rows) >= asks["limit"]:
            least = rows[-1]["id"]
            earlier = rows[-1]["seq"] > 1
        return Found(
            events=tuple(_event(stream, row) for row in rows), before=least if earlier else None, looked=looked
        )

    async def chains(self) -> ChainStatus:
        """What is known about the chains without computing them anew."""
        last, streams, anchored = await self._store.reads(("event_last", {}), ("stream_count", {}), ("anchored", {}))
        events, count = int(last[0]["last"]), int(streams[0]["n"])
        if not anchored:
            return ChainStatus(events=events, streams=count, anchored_at=None, anchored_streams=0, since_anchor=events)
        reach = anchored[0]
        return ChainStatus(
            events=events,
            streams=count,
            anchored_at=reach["at"],
            anchored_streams=reach["streams"],
            since_anchor=max(0, events - reach["until"]),
        )


def _written(text: str) -> bytes:
    """The text as it stands in a record: inside a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")


def _event(stream: str, row: Row) -> EventRow:
    body = json.loads(row["body"])
    return EventRow(
        id=row["id"],
        stream=stream,
        seq=row["seq"],
        at=row["at"],
        epoch=row["epoch"],
        kind=body["kind"],
        hash=row["hash"].hex(),
        body=body,
    )
