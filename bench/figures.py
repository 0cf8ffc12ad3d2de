"""What a benchmark yields, how it is shown and kept.

Rules
- A figure is ours beside its peers', measured in the same run on the same machine: alone, an absolute number says
  little on a shared machine.
- A target is on record with the figure, and whether it holds is computed, never claimed. What was not run is listed
  with the reason.
- A benchmark is a module `bench/bench_*.py` whose `main` prints its figures as a table on standard error and as JSON
  Lines on standard output; `python -m bench` runs them all and writes `build/bench.json`.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted of the ratio ours / peer (`ratio`, each peer counts), or of ours alone (`ours`)."""

    of: Literal["ratio", "ours"]
    most: float

    def __str__(self) -> str:
        return f"<= {self.most:g}" + (" x the peer" if self.of == "ratio" else "")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number; less is better, unless `unit` says otherwise and there is no target."""

    name: str
    unit: str
    ours: float | None
    """None = not run."""
    peers: dict[str, float] = field(default_factory=dict)
    """By name and version."""
    target: Target | None = None
    note: str = ""

    @property
    def ratio(self) -> dict[str, float]:
        """Ours / each peer's."""
        if self.ours is None:
            return {}
        return {peer: round(self.ours / value, 4) for peer, value in self.peers.items() if value > 0}

    @property
    def holds(self) -> bool | None:
        """Whether the target is met by ours, or beside every peer; None = no target, or nothing to judge by."""
        if self.target is None or self.ours is None:
            return None
        if self.target.of == "ours":
            return self.ours <= self.target.most
        ratios = self.ratio
        return max(ratios.values()) <= self.target.most if ratios else None

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": self.ours,
            "peers": self.peers,
            "ratio": self.ratio,
            "target": str(self.target) if self.target else None,
            "holds": self.holds,
            **({"note": self.note} if self.note else {}),
        }


_MARKS = {True: "ok", False: "MISSED", None: ""}


def show(figures: Iterable[Figure]) -> None:
    """Print figures: a line for people each on standard error, JSON Lines on standard output."""
    for figure in figures:
        ours = "not run" if figure.ours is None else f"{figure.ours:.4g} {figure.unit}"
        peers = "".join(
            f"\n      {ratio:8.4g} x  {peer} ({figure.peers[peer]:.4g})" for peer, ratio in figure.ratio.items()
        )
        target = f"  target {figure.target}" if figure.target else ""
        note = f"  ({figure.note})" if figure.note else ""
        sys.stderr.write(f"{_MARKS[figure.holds]:6} {figure.name}: {ours}{target}{note}{peers}\n")
        sys.stdout.write(json.dumps(figure.as_json()) + "\n")
    sys.stdout.flush()
