"""What a deck on PostgreSQL committed and when, asked of the server itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psycopg

from quarterdeck.journal.port import Record
from quarterdeck.testing.chaos.caps import Committed

_COMMITTED: Final = Path(__file__).with_name("committed.sql")


def committed(url: str, streams: Mapping[str, list[Record]]) -> list[Committed]:
    """These streams' records in the order of their commits."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(_COMMITTED.read_text(encoding="utf-8")).fetchall()
    return [
        Committed(float(at), int(transaction), stream, streams[stream][seq - 1].event)
        for stream, seq, transaction, at in rows
        if stream in streams
    ]
