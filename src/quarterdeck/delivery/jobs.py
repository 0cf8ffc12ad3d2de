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
GATE_WITHDRAW = "gate.withdraw"


def advance(run: str, delay: float = 0.0) -> Job:
    """Fold the run's stream and decide what is next."""
    return Job(kind=ADVANCE, key=f"advance/{run}", lock=ids.run_stream(run), run=run, delay=delay, priority=10)


def control(run: str, action: str, *, by: str, detail_blob: str | None = None, word: str = "") -> Job:
    """Something a person wants of the run: `pause`, `resume`, `cancel`. `word`: names this time of saying it, where
    the same may be said, unsaid and said again before any of it is heard: the last word counts."""
    return Job(
        kind=CONTROL,
        key=f"control/{run}/{action}/{detail_blob or ''}{word and f'/{word}'}",
        lock=ids.run_stream(run),
        run=run,
        payload={"action": action, "by": by, "detail_blob": detail_blob},
        priority=20,
    )


def work(
    run: str,
    node: Node,
    attempt: str,
    *,
    plan_blob: str | None = None,
    agent: str | None = None,
    tier: str | None = None,
    feedback_blob: str | None = None,
    added_blob: str | None = None,
    carry: str | None = None,
    after: int = 0,
) -> Job:
    """Perform one node of an attempt (or of the run itself). What the node needs to know travels with the job.

    `after`: an end of this node that stands no later in the attempt's stream was another try.
    """
    return Job(
        kind=WORK,
        key=f"work/{attempt}/{node}",
        lock=ids.attempt_stream(attempt),
        run="" if node is Node.GATE else run,  # what is on its way into the gate leaves it through the gate
        payload={
            "node": node.value,
            "attempt": attempt,
            "plan_blob": plan_blob,
            "agent": agent,
            "tier": tier,
            "feedback_blob": feedback_blob,
            "added_blob": added_blob,
            "carry": carry,
            "after": after,
        },
    )


def gate_submit(target: str, attempt: str, queued_blob: str, epoch: int = 0) -> Job:
    """Put a change into the gate's queue. `queued_blob`: the `ChangeQueued` event, encoded. `epoch`: under which its
    attempt was claimed for that; what an earlier claim recorded is of an earlier visit."""
    return Job(
        kind=GATE_SUBMIT,
        key=f"submit/{attempt}",
        lock=ids.gate_stream(target),
        run="",  # not the run's: cancelling the run withdraws it through the gate
        payload={"target": target, "queued_blob": queued_blob, "epoch": epoch},
        priority=5,
    )


def gate_advance(target: str, delay: float = 0.0, runs_on: tuple[str, ...] = ()) -> Job:
    """Fold the gate's stream and decide what is next."""
    return Job(
        kind=GATE_ADVANCE,
        key=f"gate/{target}",
        lock=ids.gate_stream(target),
        run="",
        payload={"target": target},
        delay=delay,
        priority=5,
        runs_on=runs_on,
    )


def gate_withdraw(target: str, run: str, coming: tuple[str, ...] = (), runs_on: tuple[str, ...] = ()) -> Job:
    """A cancelled run leaves the queue, except for a change whose landing is already intended.

    `coming`: attempts that are in the gate or on their way into it.
    """
    return Job(
        kind=GATE_WITHDRAW,
        key=f"withdraw/{run}",
        lock=ids.gate_stream(target),
        run="",
        payload={"target": target, "run": run, "coming": " ".join(coming)},
        priority=5,
        runs_on=runs_on,
    )


def gate_check(target: str, check: str, runs_on: tuple[str, ...] = ()) -> Job:
    """Check one merged tree; the `GateCheckStarted` event of that id says which."""
    return Job(
        kind=GATE_CHECK,
        key=f"check/{check}",
        lock=f"check/{check}",
        run="",
        payload={"target": target, "check": check},
        priority=1,
        runs_on=runs_on,
    )
