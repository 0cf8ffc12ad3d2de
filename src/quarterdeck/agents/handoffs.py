"""Handoffs: what an agent must end with, as a schema for the model and as a check of what it handed in.

Rules
- One name, one schema: submission, review, plan, answer. The schema shown to the model and the check are the same
  value type.
- A refused handoff names every problem (bounded) and shows an example, so that the next try can be right.
- What is accepted can be stored: half a surrogate pair is replaced, NaN and what is nested too deep are refused.
- What follows a refusal is one table for every handoff and every harness (`recovery`): ask again with the schema and an
  example, at most twice; then another agent, where the definition names one; then a person.
- The schema stands alone (no references), because not every provider follows them.
"""

import json
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from quarterdeck.agents.escalation import successor
from quarterdeck.agents.port import Handoff
from quarterdeck.agents.roster import HUMAN
from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.entities import Agent, Answer, Plan, Review, Submission
from quarterdeck.kernel.failures import RECOVERY, FailureClass
from quarterdeck.models import sound
from quarterdeck.tools.schema import standalone

MAX_PROBLEMS: Final = 12

_TYPES: Final[Mapping[str, type[Submission] | type[Review] | type[Plan] | type[Answer]]] = {
    "submission": Submission,
    "review": Review,
    "plan": Plan,
    "answer": Answer,
}

_EXAMPLES: Final[Mapping[str, dict[str, Any]]] = {
    "submission": {
        "summary": "Added `backoff()` to src/hooks/backoff.py and its tests; the webhook sender uses it.",
        "limitations": ["The maximum delay is fixed at 60 s."],
    },
    "review": {
        "verdict": "change",
        "summary": "Correct in the normal case; an empty list raises.",
        "findings": [
            {"path": "src/stats.py", "line": 12, "problem": "mean([]) divides by zero; return 0.0", "blocking": True}
        ],
    },
    "plan": {
        "tasks": [
            {
                "id": "backoff",
                "title": "Exponential backoff helper",
                "instructions": "Add `backoff(attempt: int) -> float` to src/hooks/backoff.py, with tests.",
                "paths": ["src/hooks/backoff.py", "tests/test_backoff.py"],
                "needs": [],
                "verify": ["pytest -q tests/test_backoff.py"],
            }
        ],
        "design": "backoff(attempt) returns seconds, attempt counts from 0.",
    },
    "answer": {"summary": "The sender is called in three places: src/a.py:10, src/b.py:20, src/c.py:30."},
}

_FILLED: Final[Mapping[str, frozenset[str]]] = {"plan": frozenset({"v", "goal"})}
"""Keys that code fills in, so the agent is not asked for them."""


TRIES: Final = RECOVERY[FailureClass.HANDOFF].retries + 1
"""How often one agent is heard: once, and as often as it is asked again."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A handoff that does not validate."""

    reason: str
    """For the agent: the problems and an example."""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The same agent is asked again, with what it has to look like."""

    schema: Mapping[str, Any]
    example: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OtherAgent:
    """Another agent tries."""

    name: str


@dataclass(frozen=True, slots=True)
class Human:
    """A person has to look."""


def recovery(
    refused: int, agent: Agent, agents: Mapping[str, Agent], deck: DeckConfig, tried: Collection[str] = ()
) -> AskAgain | OtherAgent | Human:
    """What follows when the agent's handoff was refused for the `refused`-th time. `tried`: agents before it."""
    if refused < TRIES:
        return AskAgain(schema(agent.expects), _EXAMPLES[agent.expects])
    to = successor(agent.name, tried, agents, deck, agent.expects)
    return Human() if to in (None, HUMAN) else OtherAgent(str(to))


@cache
def _schema(expects: str) -> dict[str, Any]:
    schema = standalone(_TYPES[expects].model_json_schema())
    filled = _FILLED.get(expects, frozenset())
    schema["properties"] = {key: value for key, value in schema["properties"].items() if key not in filled}
    schema["required"] = [key for key in schema.get("required", []) if key not in filled]
    schema["examples"] = [_EXAMPLES[expects]]
    return schema


def schema(expects: str) -> dict[str, Any]:
    """JSON Schema of the handoff of that name, with an example. Raises KeyError."""
    return deepcopy(_schema(expects))  # callers may change it


def parse(expects: str, data: Mapping[str, Any], *, goal: str = "") -> Handoff | Refused:
    """The handoff that `data` is, or why it is none. `goal` stands in a plan that does not repeat it."""
    try:
        fields = sound.value(dict(data))
    except ValueError as error:
        return refuse(expects, [str(error)])
    if expects == "plan":
        fields.setdefault("goal", goal or "-")
        fields.setdefault("v", 1)
    try:
        return _TYPES[expects].model_validate(fields)
    except ValidationError as error:
        return refuse(expects, problems(error))


def refuse(expects: str, found: list[str]) -> Refused:
    """The refusal that lists these problems."""
    shown = found[:MAX_PROBLEMS]
    if len(found) > len(shown):
        shown.append(f"... and {len(found) - len(shown)} more")
    listed = "\n".join(f"- {problem}" for problem in shown)
    example = json.dumps(_EXAMPLES[expects], ensure_ascii=False)
    return Refused(f"The {expects} was not accepted:\n{listed}\nAn example of a valid {expects}: {example}")


def problems(error: ValidationError) -> list[str]:
    """Each problem of a failed validation with its place, on one line."""
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) for part in item["loc"]) or "(the whole)"
        found.append(f"{place}: {item['msg']}"[:300])
    return found


def encode(handoff: BaseModel) -> bytes:
    """The handoff as it is stored."""
    return handoff.model_dump_json().encode()
