"""Few series, whatever happens: a label takes a bounded number of values, the rest is counted together.

Rules
- The first `MOST` values of each label of an instrument are told apart; later ones are `other`. So an agent or a server
  that invents names can neither fill this process's memory nor the store of whoever scrapes it.
"""

from typing import Final

from quarterdeck.telemetry.port import Measure

MOST: Final = 100
OTHER: Final = "other"
_LONGEST: Final = 100


class Few:
    """Which values of which label are told apart."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._seen: dict[tuple[str, str], set[str]] = {}

    def labels(self, measure: Measure) -> dict[str, str]:
        """The labels of the measurement: all that its instrument has, in their order; empty where nothing is known."""
        return {name: self._one(measure, name) for name in measure.instrument.labels}

    def _one(self, measure: Measure, label: str) -> str:
        value = measure.labels.get(label, "")
        seen = self._seen.setdefault((measure.instrument.name, label), set())
        if value in seen:
            return value
        if len(seen) >= self._most or len(value) > _LONGEST:
            return OTHER
        seen.add(value)
        return value
