"""Handoffs: one schema for the model and for the check, and refusals that help."""

from typing import Any

import pytest

from quarterdeck.agents import handoffs
from quarterdeck.agents.roster import EXPECTS
from quarterdeck.kernel.entities import Answer, Plan, Review, Submission
from quarterdeck.tools.schema import problems


@pytest.mark.parametrize("expects", EXPECTS)
def test_the_example_of_each_schema_is_valid(expects: str) -> None:
    schema = handoffs.schema(expects)
    (example,) = schema["examples"]
    assert problems(schema, example) == []
    assert not isinstance(handoffs.parse(expects, example, goal="g"), handoffs.Refused)
    assert "$ref" not in str(schema)


@pytest.mark.parametrize(
    ("expects", "data", "kind"),
    [
        ("submission", {"summary": "s"}, Submission),
        ("review", {"verdict": "accept", "summary": "s", "findings": [{"problem": "p", "line": None}]}, Review),
        ("answer", {"summary": "s"}, Answer),
        ("plan", {"tasks": [{"id": "a", "title": "A", "paths": ["a"]}]}, Plan),
    ],
)
def test_what_is_valid(expects: str, data: dict[str, Any], kind: type) -> None:
    assert isinstance(handoffs.parse(expects, data, goal="the goal"), kind)


@pytest.mark.parametrize(
    ("expects", "data", "says"),
    [
        ("submission", {}, "summary: Field required"),
        ("submission", {"summary": "s", "extra": 1}, "extra: Extra inputs"),
        ("submission", {"summary": "s", "limitations": "none"}, "limitations"),
        ("review", {"verdict": "maybe", "summary": "s"}, "verdict"),
        ("plan", {"tasks": [{"id": "Not An Id", "title": "A", "paths": ["a"]}]}, "tasks.0.id"),
        ("plan", {"tasks": []}, "tasks"),
        ("answer", {"summary": "x" * 9000}, "at most 8000"),
    ],
)
def test_a_refusal_names_the_place_and_shows_an_example(expects: str, data: dict[str, Any], says: str) -> None:
    refused = handoffs.parse(expects, data)
    assert isinstance(refused, handoffs.Refused)
    assert says in refused.reason
    assert f"valid {expects}: {{" in refused.reason


def test_many_problems_are_bounded() -> None:
    refused = handoffs.parse("plan", {"tasks": [{} for _ in range(500)]})
    assert isinstance(refused, handoffs.Refused)
    assert "more" in refused.reason
    assert len(refused.reason) < 8_000
