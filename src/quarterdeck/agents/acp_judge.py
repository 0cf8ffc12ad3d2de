"""How an attempt of an outside agent ended. Pure.

Rules
- What the desk has on record comes first: a handoff, a question, a handoff refused too often.
- Then what stopped it: money, a bound, silence, its own death. Only then what it says of itself; `end_turn` is no
  success.
- An implementer that changed something and never handed in is judged by its change, and the handoff says so.
"""

import json
from dataclasses import dataclass
from typing import Final, Literal

from quarterdeck.agents import endings
from quarterdeck.agents.acp_talk import Talked
from quarterdeck.agents.limits import Bounds, words
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.gateway.port import Stopped
from quarterdeck.kernel.entities import Feedback, Submission
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.tools.bounds import last_line, readable

_DETAIL: Final = 8_000
_WORDS: Final = 4_000

Bound = Literal["turns", "wall", "tokens", "usd"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known at the end."""

    talked: Talked
    """The last turn."""
    desk: Finished | None
    changed: bool
    """The workspace differs from how the agent found it."""
    stopped: Stopped | None = None
    """By the gateway."""
    process: str = ""
    """How its process ended, in words; empty = it lived until it was told to end."""
    stderr: str = ""
    last_words: str = ""
    junk: str = ""
    turns: int = 0
    wall: float = 0.0
    """Seconds since its beginning."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A bound that ended the work."""

    limit: Bound
    used: float
    allowed: float


def judge(assignment: Assignment, bounds: Bounds, known: Evidence) -> tuple[Finished, Reached | None]:
    """How the attempt ended, and the bound that ended it, if one did."""
    name, talked = assignment.agent.name, known.talked
    if known.desk is not None:
        return known.desk, None
    if known.stopped is not None:
        return _stopped(known.stopped, known), _reached(known.stopped, bounds, known)
    if talked.cut == "wall":
        return _limited(f"it was stopped after {words('wall', bounds.wall)} (limits.wall)", known), Reached(
            "wall", known.wall, bounds.wall
        )
    if talked.cut == "turns":
        reached = Reached("turns", max(known.turns, bounds.turns), bounds.turns)
        return _limited(f"the limit of {words('turns', bounds.turns)} was reached", known), reached
    if talked.cut == "flood":
        return _failed(f"`{name}` asked for more permissions than anybody can give", FailureClass.TOOL, known), None
    if talked.cut == "silent":
        return _failed(f"`{name}` fell silent and was stopped", FailureClass.TOOL, known), None
    if talked.failed is not None:
        reason = f"`{name}` {known.process}" if known.process else str(talked.failed)
        if known.process and (said := last_line(readable(known.stderr))):
            reason += f": {said}"
        return _failed(reason, talked.failed.kind, known), None
    if talked.stop in _CLASSES:
        kind, said = _CLASSES[talked.stop]
        return _failed(f"`{name}` {said}", kind, known), None
    return _unsubmitted(assignment, known), None


_CLASSES: Final = {
    "refusal": (FailureClass.REFUSED, "refused to go on"),
    "max_tokens": (FailureClass.TRUNCATED, "ended in the middle: its answer was cut at the model's limit"),
    "max_turn_requests": (FailureClass.TOOL, "stopped at its own limit of requests"),
    "cancelled": (FailureClass.TOOL, "says that it was cancelled, and nobody did that"),
}


def _unsubmitted(assignment: Assignment, known: Evidence) -> Finished:
    expects, name = assignment.agent.expects, assignment.agent.name
    if expects == "submission" and known.changed:
        said = f" Its last words: {known.last_words[:_WORDS]}" if known.last_words else ""
        note = f"`{name}` ended without handing in; its change is judged as it is.{said}"
        return Finished(Outcome.OK, handoff=Submission(summary=note, limitations=("It was not handed in.",)))
    nothing = " and changed nothing" if expects == "submission" else ""
    return _failed(f"`{name}` ended without handing in a {expects}{nothing}", FailureClass.HANDOFF, known)


def _stopped(stopped: Stopped, known: Evidence) -> Finished:
    feedback = (Feedback(source="limit", reason=stopped.reason[:2000], detail=_detail(known)),)
    if stopped.run:
        return Finished(Outcome.EXHAUSTED, stopped.reason[:2000], FailureClass.BUDGET, feedback=feedback)
    return Finished(Outcome.FAILED, stopped.reason[:2000], feedback=feedback)


def _reached(stopped: Stopped, bounds: Bounds, known: Evidence) -> Reached:
    allowed = {"turns": bounds.turns, "tokens": bounds.tokens, "usd": (bounds.nusd or 0) / 1e9}[stopped.limit]
    return Reached(stopped.limit, float(known.turns if stopped.limit == "turns" else allowed), float(allowed))


def _limited(reason: str, known: Evidence) -> Finished:
    return Finished(Outcome.FAILED, reason, feedback=(Feedback(source="limit", reason=reason, detail=_detail(known)),))


def _failed(reason: str, kind: FailureClass, known: Evidence) -> Finished:
    return endings.failed(reason[:2000], kind, _detail(known))


def _detail(known: Evidence) -> str:
    why = known.talked.failed.why if known.talked.failed is not None else ""
    parts = (
        ("Why", why),
        ("Its last words", known.last_words[:_WORDS]),
        ("Its standard error", known.stderr[-_DETAIL:]),
        ("Beside the protocol", known.junk[:1000]),
    )
    return "\n".join(f"{title}: {text}" for title, text in parts if text)


def report(known: Evidence) -> bytes:
    """What is known at the end, as it is stored."""
    document = {
        "stop": known.talked.stop,
        "cut": known.talked.cut,
        "failed": str(known.talked.failed) if known.talked.failed is not None else "",
        "process": known.process,
        "turns": known.turns,
        "seconds": round(known.wall, 2),
        "changed": known.changed,
        "last_words": known.last_words,
        "stderr": known.stderr,
        "junk": known.junk,
    }
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
