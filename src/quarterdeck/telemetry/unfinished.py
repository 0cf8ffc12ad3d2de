"""The spans of one run that have not ended: a tree that is told branch by branch, as it closes.

Rules
- What holds others ends no earlier than they do: closing it closes them. A call that was still under way then was cut
  off, and says so; whatever else only ended with what held it.
- The same key opened again closes what it meant before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.telemetry.port import Scalar, Span, span_id, trace_id

ROOT: Final = "run"
_CALLS: Final = ("call ", "tool ", "act ", "check ")
CUT_OFF: Final = "quarterdeck.cut_off"


@dataclass(frozen=True, slots=True)
class Place:
    """The record that began something."""

    stream: str
    seq: int
    at: float


@dataclass(slots=True)
class Branch:
    """A span that has not ended."""

    id: int
    parent: int
    inside: str
    """Key of the branch that holds it."""
    name: str
    start: float
    last: float
    """When something last happened in it."""
    outward: bool
    attributes: dict[str, Scalar]
    links: tuple[tuple[int, int], ...] = ()
    bodies: dict[str, str] = field(default_factory=dict)
    holds: dict[str, None] = field(default_factory=dict)
    """Keys of the branches that it holds."""


class Tree:
    """The unfinished spans of one run, by key: `run`, `task T`, `try A`, `node T N`, `agent A`, `step A N`, `call A N`,
    `tool A C`, `act A C`, `check C` (T a task, A an attempt, N a node or number, C a call or check)."""

    def __init__(self, run: str) -> None:
        self.trace = trace_id(run)
        self.root = span_id(f"run/{run}", 1, ROOT)
        self._branches: dict[str, Branch] = {}

    def get(self, key: str) -> Branch | None:
        return self._branches.get(key)

    def first(self, *keys: str) -> str:
        """The first of these keys that is open; the run's where none is."""
        return next((key for key in keys if key in self._branches), ROOT)

    def id_of(self, key: str) -> int:
        """Id of the span of that key, or of the root."""
        branch = self._branches.get(key)
        return branch.id if branch is not None else self.root

    def open(
        self,
        key: str,
        inside: str,
        place: Place,
        name: str,
        attributes: Mapping[str, Scalar],
        *,
        outward: bool = False,
        links: tuple[tuple[int, int], ...] = (),
        bodies: Mapping[str, str] | None = None,
    ) -> list[Span]:
        """Begin a span; returns what that ends."""
        before = self._branches.get(key)
        ended = self.close(key, before.last) if before is not None else []
        first = key == ROOT and place.seq == 1
        parent = 0 if first else self.id_of(inside)
        self._branches[key] = Branch(
            id=self.root if first else span_id(place.stream, place.seq, key),
            parent=parent,
            inside=inside,
            name=name,
            start=place.at,
            last=place.at,
            outward=outward,
            attributes=dict(attributes),
            links=links,
            bodies=dict(bodies or {}),
        )
        if key != inside and (holder := self._branches.get(inside)) is not None:
            holder.holds[key] = None
            self._lasted(inside, place.at)
        return ended

    def _lasted(self, key: str, at: float) -> None:
        """Something happened in the branch of that key, and so in all that hold it."""
        while (branch := self._branches.get(key)) is not None and branch.last < at:
            branch.last = at
            key = branch.inside

    def close(
        self,
        key: str,
        at: float,
        error: str = "",
        attributes: Mapping[str, Scalar] | None = None,
        bodies: Mapping[str, str] | None = None,
        *,
        whole: bool = False,
    ) -> list[Span]:
        """End a span and all that it holds; returns them, the inner ones first. `whole`: the outcome is on record, so
        it was not cut off."""
        branch = self._branches.pop(key, None)
        if branch is None:
            return []
        ended = [span for held in branch.holds for span in self.close(held, at)]
        end = max([at, branch.start, *(span.end for span in ended)])
        if (holder := self._branches.get(branch.inside)) is not None:
            holder.holds.pop(key, None)
            self._lasted(branch.inside, end)
        cut: dict[str, Scalar] = {CUT_OFF: True} if not whole and key.startswith(_CALLS) else {}
        told = branch.attributes | cut | dict(attributes or {})
        ended.append(
            Span(
                trace=self.trace,
                id=branch.id,
                parent=branch.parent,
                name=branch.name,
                start=branch.start,
                end=end,
                outward=branch.outward,
                attributes=told,
                error=error,
                links=branch.links,
                bodies=branch.bodies | dict(bodies or {}),
            )
        )
        return ended
