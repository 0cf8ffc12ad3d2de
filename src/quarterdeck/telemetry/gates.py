"""From a gate's records to spans and measures: checks, and what landed or went back.

Rules
- A check hangs below the gate node of the change on top of its stack, and is linked to those of the others.
- A check of no run that is under way is measured and has no span.
"""

from collections.abc import Mapping

from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.telemetry import instruments as m
from quarterdeck.telemetry.port import Measure, Scalar, Span
from quarterdeck.telemetry.unfinished import ROOT, Place, Tree


class GateFold:
    """What is being checked, over all gates. `runs`: the trees of those under way, as whoever folds them keeps them."""

    def __init__(self, runs: Mapping[str, Tree]) -> None:
        self._runs = runs
        self._checks: dict[str, tuple[str, float]] = {}
        """A check to (run, since when); empty = of no run."""

    def take(self, place: Place, event: e.EventBase) -> tuple[list[Span], list[Measure]]:
        """What one record of a gate comes to."""
        match event:
            case e.GateCheckStarted():
                return self._check(place, event), []
            case e.GateCheckFinished():
                return self._checked(place.at, event)
            case e.ChangeLanded():
                return [], [Measure(m.LANDED, 1, {"outcome": "landed"})]
            case e.ChangeReturned():
                return [], [Measure(m.LANDED, 1, {"outcome": event.outcome.value})]
            case e.FlakeSeen():
                return [], [Measure(m.FLAKES, 1)]
            case _:
                return [], []

    def _check(self, place: Place, event: e.GateCheckStarted) -> list[Span]:
        run = ids.split_attempt(event.stack[-1])[0] if event.stack else ""
        self._checks[event.check] = (run, place.at)
        tree = self._runs.get(run)
        if tree is None:
            return []
        *others, top = [self._gated(attempt) for attempt in event.stack]
        attributes: dict[str, Scalar] = {
            "quarterdeck.check": event.check,
            "quarterdeck.stack": event.stack,
            "quarterdeck.number": event.number,
        }
        links = tuple((other.trace, other.id_of(key)) for other, key in others if other is not None)
        return tree.open(f"check {event.check}", top[1], place, "gate check", attributes, links=links)

    def _gated(self, attempt: str) -> tuple[Tree | None, str]:
        """The tree of an attempt's run, and the key of its gate node."""
        run, task, _ = ids.split_attempt(attempt)
        tree = self._runs.get(run)
        return tree, tree.first(f"node {task} {e.Node.GATE}", f"try {attempt}") if tree is not None else ROOT

    def _checked(self, at: float, event: e.GateCheckFinished) -> tuple[list[Span], list[Measure]]:
        run, since = self._checks.pop(event.check, ("", None))
        if since is None:
            return [], []
        result = "passed" if event.passed else "failed"
        result = "cancelled" if event.cancelled else "infrastructure" if event.infrastructure else result
        tree = self._runs.get(run)
        told: dict[str, Scalar] = {"quarterdeck.result": result}
        key, error = f"check {event.check}", "" if result in ("passed", "cancelled") else result
        spans = tree.close(key, at, error, told, whole=True) if tree is not None else []
        return spans, [Measure(m.CHECK_SECONDS, at - since, {"result": result})]
