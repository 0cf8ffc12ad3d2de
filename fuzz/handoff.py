"""Handoffs: what a program prints last, and what a model submits, as each kind of handoff.

Rules
- Declared: nothing is raised. A handoff that does not hold is `Refused`, with words that can be stored and shown.
- A handoff that was accepted is stored and read back as the same handoff; an accepted plan is checked like a file.
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, cast

from fuzz.shapes import Choices, as_json
from quarterdeck.agents import handoffs
from quarterdeck.agents.command import judge
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.roster import EXPECTS
from quarterdeck.delivery.plans.plan import check_plan, dump_plan, parse_plan, repair_plan
from quarterdeck.journal.port import Claim
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Agent, Answer, Feedback, Plan, Review, Submission
from quarterdeck.kernel.failures import BadPlan
from quarterdeck.tools.schema import problems
from quarterdeck.workplace.port import ExecResult

INSTRUMENTED = ("quarterdeck.agents", "quarterdeck.tools", "quarterdeck.delivery", "quarterdeck.kernel")
WORDS = (
    *(
        '"summary":',
        '"limitations":',
        '"verdict":',
        "accept",
        "change",
        '"findings":',
        '"path":',
        '"line":',
        '"problem":',
    ),
    *(
        '"blocking":',
        '"tasks":',
        '"id":',
        '"title":',
        '"paths":',
        '"needs":',
        '"verify":',
        '"goal":',
        '"v":',
        '"design":',
    ),
    *("\\ud83d", "\\u0000", "NaN", "1e999", "\n{", "\r\n", "\x1b[31m", "\\u2028", "null"),
)

_HANDOFFS: Final[tuple[Any, ...]] = (
    {"summary": "Done.", "limitations": ["None."]},
    {
        "verdict": "change",
        "summary": "No.",
        "findings": [{"path": "a.py", "line": 3, "problem": "wrong", "blocking": True}],
    },
    {
        "v": 1,
        "goal": "g",
        "design": "d",
        "tasks": [
            {
                "id": "a",
                "title": "t",
                "instructions": "i",
                "paths": ["a/**"],
                "needs": [],
                "agent": None,
                "verify": ["true"],
                "budget_usd": 0.5,
                "design": "",
            },
            {"id": "b", "title": "t", "paths": ["./b"], "needs": ["a"]},
        ],
    },
    {"summary": "There."},
)
_TYPES: Final = (Submission, Review, Plan, Answer)


def one(data: bytes) -> None:
    """Two choices, then the output as it is or a handoff mangled."""
    choices = Choices(data)
    kind = choices.number() % len(EXPECTS)
    if choices.number() % 2:
        output = b"working\n" + as_json(choices.mangled(_HANDOFFS[kind])) + choices.rest()
    else:
        output = choices.rest()
    _judged(judge(_assignment(EXPECTS[kind]), ExecResult(0, output, b"", 1.0), 10.0))
    failed = judge(_assignment(EXPECTS[kind]), ExecResult(1 + len(data) % 200, b"", output, 1.0), 10.0)
    assert failed.handoff is None
    _judged(failed)
    _submitted(EXPECTS[kind], output)


def _judged(finished: Finished) -> None:
    for feedback in finished.feedback:
        assert Feedback.model_validate_json(feedback.model_dump_json()) == feedback
    if finished.handoff is not None:
        _stored(finished.handoff)


def _submitted(expects: str, output: bytes) -> None:
    """As the arguments of a model's call of `submit`."""
    try:
        value = json.loads(output.rsplit(b"\n", 1)[-1])
    except (ValueError, RecursionError):
        return
    if not isinstance(value, dict):
        return
    said = problems(_schema(expects), value)
    "\n".join(said).encode("utf-8", "replace")
    found = handoffs.parse(expects, value, goal="The goal.")
    if isinstance(found, handoffs.Refused):
        found.reason.encode("utf-8", "replace")
    else:
        _stored(found)


def _stored(handoff: Submission | Review | Plan | Answer) -> None:
    kind = next(kind for kind in _TYPES if isinstance(handoff, kind))
    assert kind.model_validate_json(handoffs.encode(handoff)) == handoff
    if isinstance(handoff, Plan):
        repaired, notes = repair_plan(handoff)
        " ".join(notes).encode()
        try:
            check_plan(repaired, origin="the planner's plan")
        except BadPlan as error:
            str(error).encode()
            return
        assert parse_plan(dump_plan(repaired).encode(), origin="plan.yaml") == repaired


@cache
def _schema(expects: str) -> dict[str, Any]:
    return handoffs.schema(expects)


@cache
def _assignment(expects: str) -> Assignment:
    return Assignment(
        run="r",
        attempt="r.t.1",
        number=1,
        incarnation=1,
        agent=Agent(name="robot", expects=expects, command=("robot",)),
        claim=cast(Claim, None),  # judging records nothing
        sandbox=cast(Any, None),  # and touches no sandbox
        config=RunConfig(deck=DeckConfig(), agents={}),
        goal="The goal.",
    )


def seeds() -> Sequence[bytes]:
    """Each kind as output and as choices, and outputs without a handoff."""
    found = [bytes([kind, 0]) + b"log\n" + as_json(handoff) for kind, handoff in enumerate(_HANDOFFS)]
    found += [bytes([kind, 1]) + b"\1" * 40 for kind in range(len(_HANDOFFS))]
    return [
        *found,
        b"\0\0",
        b"\0\0no json\n",
        b'\1\0{"a": ' + b"[" * 2000,
        b"\0\0" + b'{"summary": "\\ud83d"}',
        b"\0\0\xff\xfe{}",
    ]
