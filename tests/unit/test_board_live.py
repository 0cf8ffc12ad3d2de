"""The live board: whatever was recorded, what viewers have been told is what a fresh look would show."""

import asyncio
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from board_kit import (
    MODEL,
    TASKS,
    BoardDeck,
    a_deck,
    answered,
    asked,
    checking,
    done,
    intended,
    queued,
    started,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.board.live import Live
from quarterdeck.board.port import Changes, Delta, Snapshot, Topic
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import Node, Outcome, RunStatus
from quarterdeck.kernel.failures import FailureClass

pytestmark = pytest.mark.usefixtures("temporaries")

# --- what viewers were told against a fresh look ------------------------------------------------------------

_RUNS = ("r-000000000aa", "r-000000000bb")
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(_RUNS),
        st.sampled_from(TASKS),
        st.sampled_from(
            [
                *("start", "restart", "ask", "answer", "err", "intend", "refuse", "do", "question", "review", "sub"),
                *("finish", "queue", "check", "pass", "land", "return", "merge", "fail", "wait", "pause", "resume"),
                *("cancel", "end", "incident", "notice", "delay", "later", "look", "approval", "approve"),
            ]
        ),
        st.integers(1, 700),
    ),
    min_size=1,
    max_size=40,
)


async def _act(deck: BoardDeck, run: str, task: str, action: str, number: int, at: dict[str, int]) -> None:
    """One thing that may happen, whether or not it makes sense after what happened before."""
    attempt = ids.attempt_id(run, task, at.setdefault(run + task, 1))
    step = number % 9
    match action:
        case "start":
            at[run + task] += 1
            await deck.start(run, task, at[run + task])
        case "review":
            review = ids.child_attempt(attempt, "review", 1)
            await deck.run(run, e.NodeStarted(node=Node.REVIEW, task=task, attempt=attempt))
            await deck.attempt(review, started(review, agent="reviewer"), asked(step), answered(step))
            if number % 2:
                await deck.attempt(review, e.HarnessFinished(incarnation=1, ok=True))
                await deck.attempt(attempt, e.NodeFinished(node=Node.REVIEW, outcome=Outcome.OK, task=task))
        case "sub":
            child = ids.child_attempt(attempt, "sub", 1)
            await deck.attempt(attempt, e.Delegated(call="c", child=child, agent="helper"))
            await deck.attempt(child, started(child, agent="helper"), asked(step))
        case "later":
            deck.clock.now += number
        case "queue" | "check" | "pass" | "land" | "return":
            await deck.say("gate/main", _gate(action, attempt, number))
        case "merge" | "fail" | "wait" | "pause" | "resume" | "cancel" | "end" | "notice":
            await deck.run(run, _of_run(action, run, task, attempt, number))
        case "approval":
            await deck.attempt(attempt, _asks(run, task, attempt, number))
        case "approve":
            name = f"{attempt}.{number % 3}"
            verdict = e.ApprovalDecided(approval=name, verdict="approve", by="ada", action_hash="h")
            await deck.say(f"approval/{name}", verdict)
        case "look":
            pass
        case _:
            await deck.attempt(attempt, _of_attempt(action, attempt, step))


def _asks(run: str, task: str, attempt: str, number: int) -> e.ApprovalAsked:
    return e.ApprovalAsked(
        approval=f"{attempt}.{number % 3}",
        what="merge" if number % 2 else "tool",
        run=run,
        task=task,
        attempt=attempt,
        agent="implementer",
        action_hash="h",
        title="May I?",
        subject_blob="0" * 64,
        risk="low",
        cost_nusd=number,
    )


def _gate(action: str, attempt: str, number: int) -> e.EventBase:
    kinds: dict[str, e.EventBase] = {
        "queue": queued(attempt),
        "check": checking(attempt),
        "pass": e.GateCheckFinished(check=f"k-{attempt}", tree=f"t-{attempt}", passed=number % 2 == 0, reason="red"),
        "land": e.ChangeLanded(attempt=attempt, old="base", new=f"c-{attempt}"),
        "return": e.ChangeReturned(attempt=attempt, outcome=Outcome.CONFLICT, reason="clash", against=("x",)),
    }
    return kinds[action]


def _of_run(action: str, run: str, task: str, attempt: str, number: int) -> e.EventBase:
    status = RunStatus.PARTIAL if number % 2 else RunStatus.DONE
    kinds: dict[str, e.EventBase] = {
        "merge": e.TaskMerged(task=task, attempt=attempt, commit="c0ffee"),
        "fail": e.TaskFailed(task=task, reason=f"broken after {number} tries"),
        "wait": e.RunWaiting(reason="a question is open"),
        "pause": e.RunPaused(by="ada"),
        "resume": e.RunResumed(by="ada", answer_blob="0" * 64 if number % 2 else None, budget_nusd=number * 10**9),
        "cancel": e.RunCancelled(by="ada"),
        "end": e.RunFinished(status=status, reason="so", exit_code=number % 6, sha="5ha"),
        "notice": e.SpendNoticed(about="run", name=run, spent_nusd=9, usual_nusd=1, bound_nusd=2, samples=5),
    }
    return kinds[action]


def _of_attempt(action: str, attempt: str, step: int) -> e.EventBase:
    kinds: dict[str, e.EventBase] = {
        "restart": started(attempt, incarnation=step + 2),
        "ask": asked(step),
        "answer": answered(step),
        "err": e.ModelErred(step=step, model=MODEL, failure=FailureClass.TRANSIENT, reason="529", cost_nusd=5),
        "intend": intended(step),
        "refuse": intended(step, decision="ask"),
        "do": done(step),
        "question": e.QuestionAsked(question="which one?"),
        "finish": e.HarnessFinished(incarnation=1, ok=True),
        "incident": e.IncidentOpened(failure=FailureClass.AUTH, subject=MODEL, reason="401", fix="set the key"),
        "delay": e.NodeDelayed(node=Node.IMPLEMENT, reason="the disk is full", seconds=5),
    }
    return kinds[action]


_KEYS = {"runs": "run", "agents": "attempt", "needs": "id", "gates": "target", "approvals": "approval", "tasks": "task"}


@dataclass
class _Viewer:
    """What a dashboard holds: a snapshot, brought up to date with deltas."""

    seq: int
    deck: Any
    rows: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, shot: Snapshot) -> "_Viewer":
        rows = {kind: {getattr(row, key): row for row in getattr(shot, kind)} for kind, key in _KEYS.items()}
        return cls(shot.seq, shot.deck, rows)

    def hear(self, delta: Delta) -> None:
        assert delta.seq > self.seq
        self.seq, self.deck = delta.seq, delta.deck or self.deck
        for kind, key in _KEYS.items():
            changes: Changes[Any] = getattr(delta, kind)
            for gone in changes.gone:
                self.rows[kind].pop(gone, None)
            self.rows[kind].update({getattr(row, key): row for row in changes.set})
            for known, fields in changes.changed.items():
                row = self.rows[kind][known]
                assert fields
                self.rows[kind][known] = type(row).model_validate({**row.model_dump(), **fields})


def _sees(viewer: _Viewer) -> dict[str, Any]:
    return {"deck": viewer.deck, **viewer.rows}


async def _same_as_fresh(deck: BoardDeck, live: Live, viewer: _Viewer) -> None:
    deck.clock.now += 31.0  # what is looked at from time to time is looked at now
    await live.step()
    told = live.delta(viewer.seq, tuple(Topic), _RUNS[0])
    if told is not None:
        viewer.hear(Delta.model_validate_json(told.model_dump_json()))
    assert _sees(viewer) == _sees(_Viewer.of(live.snapshot(run=_RUNS[0])))
    fresh = await deck.live()
    await fresh.follow(_RUNS[0])
    assert _since_apart(viewer) == _since_apart(_Viewer.of(fresh.snapshot(run=_RUNS[0])))


def _since_apart(viewer: _Viewer) -> dict[str, Any]:
    """What a viewer sees, without since when a need that has no moment of its own was seen."""
    seen = _sees(viewer)
    return {**seen, "needs": {key: row.model_copy(update={"since": 0.0}) for key, row in seen["needs"].items()}}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_STEPS)
def test_deltas_lead_to_what_a_fresh_look_shows(steps: Iterable[tuple[str, str, str, int]]) -> None:
    async def story() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with a_deck(Path(folder)) as deck:
                for run in _RUNS:
                    await deck.order(run)
                live = await deck.live()
                await live.follow(_RUNS[0])
                viewer, at = _Viewer.of(live.snapshot(run=_RUNS[0])), dict[str, int]()
                for run, task, action, number in steps:
                    await _act(deck, run, task, action, number, at)
                    if action == "look":
                        await _same_as_fresh(deck, live, viewer)
                await _same_as_fresh(deck, live, viewer)

    asyncio.run(story())
