"""What telemetry is made of before any library has seen it.

Rules
- Values only: how they are delivered is the business of the files that know a library.
- Ids follow from the journal: the same record gives the same id in every process, so that a restart goes on with the
  trace and whoever gets a span twice can see that it is one.
- Labels of measures come from small sets. What is told apart without end (runs, tasks, attempts) stands in spans alone.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Scalar = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time and is over."""

    trace: int
    """128 bits."""
    id: int
    """64 bits."""
    parent: int
    """0 = it is the root of its trace."""
    name: str
    start: float
    """Seconds since the epoch, as `end`."""
    end: float
    outward: bool = False
    """A request to somebody else's server."""
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    error: str = ""
    """The class of what went wrong; empty = nothing did."""
    links: tuple[tuple[int, int], ...] = ()
    """(trace, id) of spans elsewhere that it belongs to as well."""
    bodies: Mapping[str, str] = field(default_factory=dict)
    """Attribute to digest: what was said, which is only sent where the operator wants that."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """Something that is measured."""

    name: str
    kind: Literal["counter", "histogram", "level"]
    unit: str
    """UCUM: `s`, `USD`, `{token}`."""
    says: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurement. Of a level: by how much it changed."""

    instrument: Instrument
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What one record comes to."""

    spans: tuple[Span, ...] = ()
    measures: tuple[Measure, ...] = ()


def trace_id(run: str) -> int:
    """The trace of a run."""
    return int.from_bytes(hashlib.sha256(f"quarterdeck trace {run}".encode()).digest()[:16], "big")


def span_id(stream: str, seq: int, what: str) -> int:
    """The span that the record `seq` of `stream` began; `what` tells two of them apart."""
    return int.from_bytes(hashlib.sha256(f"{stream} {seq} {what}".encode()).digest()[:8], "big")
