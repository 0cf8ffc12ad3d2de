"""What all events have in common. Where they stand: `kernel.events`."""

from quarterdeck.kernel.entities import Value

Blob = str
"""Digest of a blob."""


class EventBase(Value):
    kind: str
