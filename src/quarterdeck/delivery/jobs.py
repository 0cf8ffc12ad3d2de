"""The jobs of delivery, as values.

Rules
- Everything durable that happens in a run is one of these jobs; the key says what it is, so that deferring it twice
  is harmless; the lock says with what it must not overlap.
- `run.advance` is short: fold, decide, record, defer. Everything that takes time is a job of its own.
"""

from quarterdeck.engine.port import Job
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import Node

ADVANCE = "run.advance"
CONTROL = "run.control"
WORK = "node.work"
GATE_SUBMIT = "gate.submit"
GATE_ADVANCE = "gate.advance"
GATE_CHECK = "gate.check"


def advance(run: str, delay: float = 0.0) -> Job:
    """Fold the run's stream and decide what is next."""
    return Job(kind=ADVANCE, key=f"advance/{run}", lock=ids.run_stream(run), run=run, delay=delay, priority=10)


def control(run: str, action: str, *, by: str, detail_blob: str | None = None) -> Job:
    """Something a person wants of the run: `pause`, `resume`, `cancel`."""
    return Job(
        kind=CONTROL,
        key=f"control/{run}/{action}/{detail_blob or ''}",
        lock=ids.run_stream(run),
        run=run,
        payload={"action": action, "by": by, "detail_blob": detail_blob},
        priority=20,
    )


def work(run: str, node: Node, attempt: str) -> Job:
    """Perform one node of an attempt (or of the run itself)."""
    return Job(
        kind=WORK,
        key=f"work/{attempt}/{node}",
        lock=ids.attempt_stream(attempt),
        run=run,
        payload={"node": node, "attempt": attempt},
    )


def gate_submit(run: str, target: str, attempt: str, queued_blob: str) -> Job:
    """Put a change into the gate's queue. `queued_blob`: the `ChangeQueued` event, encoded."""
    return Job(
        kind=GATE_SUBMIT,
        key=f"submit/{attempt}",
        lock=ids.gate_stream(target),
        run=run,
        payload={"target": target, "queued_blob": queued_blob},
        priority=5,
    )


def gate_advance(target: str, delay: float = 0.0) -> Job:
    """Fold the gate's stream and decide what is next."""
    return Job(
        kind=GATE_ADVANCE,
        key=f"gate/{target}",
        lock=ids.gate_stream(target),
        run="",
        payload={"target": target},
        delay=delay,
        priority=5,
    )


def gate_check(target: str, check: str) -> Job:
    """Check one merged tree; the `GateCheckStarted` event of that id says which."""
    return Job(
        kind=GATE_CHECK,
        key=f"check/{check}",
        lock=f"check/{check}",
        run="",
        payload={"target": target, "check": check},
        priority=5,
    )
