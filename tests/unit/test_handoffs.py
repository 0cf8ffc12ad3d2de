"""Handoffs: one schema for the model and for the check, and refusals that help."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.agents import handoffs
from quarterdeck.agents.escalation import successor
from quarterdeck.agents.roster import EXPECTS, HUMAN
from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.entities import Agent, Answer, Plan, Review, Submission
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


# --- what follows a refusal -------------------------------------------------------------------------------

NAMES = ("a", "b", "c", "d")


def agents(climbs: dict[str, str | None], expects: str = "submission") -> dict[str, Agent]:
    return {name: Agent(name=name, escalates_to=to, expects=expects) for name, to in climbs.items()}


DECK = DeckConfig(tiers={"hands": ("anthropic:x",)})


@pytest.mark.parametrize("expects", ["submission", "review", "plan", "answer"])
def test_whoever_is_refused_is_asked_twice_then_another_then_a_person(expects: str) -> None:
    fleet = agents({"a": "b", "b": "human"}, expects)
    for refused in (1, 2):
        again = handoffs.recovery(refused, fleet["a"], fleet, DECK)
        assert isinstance(again, handoffs.AskAgain)
        assert not isinstance(handoffs.parse(expects, again.example), handoffs.Refused)
        assert again.schema["properties"].keys() >= again.example.keys()
    assert handoffs.recovery(3, fleet["a"], fleet, DECK) == handoffs.OtherAgent("b")
    assert handoffs.recovery(3, fleet["b"], fleet, DECK, tried=("a",)) == handoffs.Human()
    assert handoffs.recovery(3, fleet["a"], fleet, DECK, tried=("b",)) == handoffs.Human()


@given(st.fixed_dictionaries({name: st.sampled_from((None, "human", *NAMES)) for name in NAMES}))
def test_every_line_of_escalation_ends_and_nobody_has_two_turns(climbs: dict[str, str | None]) -> None:
    fleet = agents(climbs)
    for name in NAMES:
        tried = [name]
        while (to := successor(tried[-1], tried, fleet, DECK)) not in (None, HUMAN):
            tried.append(str(to))
            assert len(tried) <= len(NAMES)
        assert len(set(tried)) == len(tried)


def test_who_cannot_do_it_is_passed_over() -> None:
    fleet = agents({"a": "b", "b": "c", "c": "human"})
    poor = {**fleet, "b": fleet["b"].model_copy(update={"tier": "brain"})}
    assert successor("a", (), fleet, DECK) == "b"
    assert successor("a", (), poor, DECK) == "c"
    critic = {**fleet, "b": fleet["b"].model_copy(update={"expects": "review"})}
    assert successor("a", (), critic, DECK) == "c"
    assert successor("c", (), fleet, DECK) == HUMAN
