"""Which queued changes may conflict: the graph behind the gate's lanes.

Rules
- Two changes may conflict where they change the same file: most likely where git cannot merge them, likely where both
  change the same function, class or section, hardly where neither is so.
- A pair is looked at once, while both wait, so many in one look. The others count as having a file in common until a
  later look has room for them.
- What cannot be found out is no conflict: every tree is checked before it lands.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from quarterdeck.delivery.gate.ledger import Queued
from quarterdeck.delivery.gate.orders import Overlaps
from quarterdeck.merge.naming import touched
from quarterdeck.workplace.mirror import Mirror

CLASHING: Final = 0.6
"""That the tree with both is red where git's own merge leaves a conflict; another way of merging may pass."""
SAME_ENTITY: Final = 0.3
SAME_FILE: Final = 0.05

MOST_FILES: Final = 200
"""Files of one change that are compared."""
MOST_PAIRS: Final = 500
"""Pairs that are merged in one look."""
MOST_TEXTS: Final = 12
"""Files in common whose functions and classes are compared, for a pair."""
MOST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Footprint:
    """What a change touches."""

    base: str
    commit: str
    files: frozenset[str]


class Graph:
    """The pairs of one repository's queued changes that may conflict."""

    def __init__(self) -> None:
        self._footprints: dict[str, _Footprint] = {}
        self._pairs: dict[tuple[str, str], float] = {}
        self._names: dict[tuple[str, str], frozenset[str]] = {}
        self._graph: Overlaps = {}
        self._of: tuple[str, ...] = ()

    async def look(self, mirror: Mirror, queue: Sequence[Queued]) -> Overlaps:
        """The graph of this queue. Raises GitFailed."""
        names = tuple(queued.attempt for queued in queue)
        if names != self._of:
            self._forget(set(names))
            for queued in queue:
                if queued.attempt not in self._footprints:
                    change = queued.change
                    files = await mirror.trees.touched(change.base, change.commit)
                    self._footprints[queued.attempt] = _Footprint(
                        change.base, change.commit, frozenset(files[:MOST_FILES])
                    )
            left = await self._compare(mirror, names)
            self._graph = _both_ways({**dict.fromkeys(left, SAME_FILE), **self._pairs})
            self._of = names if not left else ()
        return self._graph

    def _forget(self, names: set[str]) -> None:
        self._footprints = {name: known for name, known in self._footprints.items() if name in names}
        self._pairs = {pair: odds for pair, odds in self._pairs.items() if names.issuperset(pair)}
        self._names = {key: known for key, known in self._names.items() if key[0] in names}

    async def _compare(self, mirror: Mirror, names: Iterable[str]) -> list[tuple[str, str]]:
        """Look at pairs that have a file in common and were not looked at before; returns those that are left."""
        new = [
            pair
            for pair in in_common({name: self._footprints[name].files for name in names})
            if pair not in self._pairs
        ]
        looked = new[:MOST_PAIRS]
        commits = [(self._footprints[one].commit, self._footprints[other].commit) for one, other in looked]
        clashes = await mirror.trees.clashes(commits)
        for pair, clash in zip(looked, clashes, strict=True):
            self._pairs[pair] = CLASHING if clash else await self._by_entity(mirror, *pair)
        return new[MOST_PAIRS:]

    async def _by_entity(self, mirror: Mirror, one: str, other: str) -> float:
        common = sorted(self._footprints[one].files & self._footprints[other].files)
        for path in common[:MOST_TEXTS]:
            if await self._entities(mirror, one, path) & await self._entities(mirror, other, path):
                return SAME_ENTITY
        return SAME_FILE

    async def _entities(self, mirror: Mirror, attempt: str, path: str) -> frozenset[str]:
        """The functions, classes and sections of a file that a change touches; what is outside of them is none."""
        key = (attempt, path)
        if key not in self._names:
            footprint = self._footprints[attempt]
            before = await mirror.show(footprint.base, path, MOST_BYTES)
            after = await mirror.show(footprint.commit, path, MOST_BYTES)
            texts = [(text or b"").decode("utf-8", "replace") for text in (before, after)]
            self._names[key] = frozenset(await asyncio.to_thread(touched, path, *texts)) - {""}
        return self._names[key]


def in_common(files: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """The pairs that have a file in common, in their order. By file: a thousand changes have half a million pairs, and
    mostly none in common. Pure."""
    place = {name: number for number, name in enumerate(files)}
    touching: dict[str, list[str]] = {}
    for name, paths in files.items():
        for path in paths:
            touching.setdefault(path, []).append(name)
    found = {pair for names in touching.values() for pair in combinations(names, 2)}
    return sorted(found, key=lambda pair: (place[pair[0]], place[pair[1]]))


def _both_ways(pairs: dict[tuple[str, str], float]) -> Overlaps:
    graph: dict[str, dict[str, float]] = {}
    for (one, other), odds in pairs.items():
        graph.setdefault(one, {})[other] = odds
        graph.setdefault(other, {})[one] = odds
    return graph
