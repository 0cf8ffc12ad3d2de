"""Plans by property: any form, however wrong, is refused or usable; what mends, warns and writes agrees with it."""

import json
from typing import Any

import pytest
from fuzz.shapes import Choices
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.agents import handoffs
from quarterdeck.delivery.plans import globs, graph
from quarterdeck.delivery.plans.plan import (
    MAX_WARNINGS,
    check_plan,
    dump_plan,
    parse_plan,
    plan_problems,
    plan_warnings,
    repair_plan,
)
from quarterdeck.kernel.entities import Plan, Task
from quarterdeck.kernel.failures import BadPlan

PATHS = ("a.py", "src/", "src/*.py", "**/t.py", "b c.py", "./a.py", "**", "../x", "/etc", ".git/x", "./", "")
COMMANDS = ("true", "pytest -q", "", "  ")
AGENTS = ("implementer",)


def wild(data: bytes) -> Plan:
    """A plan that is well formed and may be wrong in every way that form allows; mostly it is right."""
    choices = Choices(data)

    def odd() -> bool:
        return choices.number() >= 176

    tasks: list[Task] = []
    for number in range(1 + choices.number() % 4):
        earlier = [task.id for task in tasks] or ["zz"]
        needs = tuple(choices.pick(earlier) for _ in range(choices.number() % 3) if tasks)
        tasks.append(
            Task(
                id="a" if odd() else "abcd"[number],
                title="t",
                paths=tuple(choices.pick(PATHS if odd() else PATHS[:7]) for _ in range(1 + choices.number() % 3)),
                needs=(*needs, choices.pick("abcd") if choices.number() % 2 else "zz") if odd() else needs,
                agent="nobody" if odd() else choices.pick((None, "implementer")),
                verify=tuple(choices.pick(COMMANDS if odd() else COMMANDS[:2]) for _ in range(choices.number() % 3)),
                budget_usd=choices.number() / 8 if odd() else None,
            )
        )
    return Plan(goal="g", tasks=tuple(tasks))


WILD = st.binary(min_size=8, max_size=60).map(wild)


def refused(plan: Plan) -> str | None:
    try:
        check_plan(plan, origin="it", agents=AGENTS)
    except BadPlan as error:
        return str(error)
    return None


# --- judging ----------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(WILD)
def test_a_plan_is_refused_as_a_file_exactly_where_it_is_refused_as_a_handoff(plan: Plan) -> None:
    why = refused(plan)
    for text, origin in ((dump_plan(plan), "plan.yaml"), (plan.model_dump_json(), "plan.json")):
        if why is None:
            assert parse_plan(text.encode(), origin=origin, agents=AGENTS) == plan
        else:
            with pytest.raises(BadPlan):
                parse_plan(text.encode(), origin=origin, agents=AGENTS)


@settings(max_examples=40)
@given(WILD)
def test_what_is_not_refused_can_be_carried_out(plan: Plan) -> None:
    """Against a second reading of the rules: names, order, places."""
    if refused(plan) is not None:
        assert plan_problems(plan, AGENTS)
        return
    names = [task.id for task in plan.tasks]
    assert len(set(names)) == len(names)
    needs = graph.needs_of(plan)
    place = {task: number for number, task in enumerate(graph.topological(needs))}
    assert all(place[need] < place[task] for task, wanted in needs.items() for need in wanted)
    for task in plan.tasks:
        assert task.agent in (None, *AGENTS)
        assert all(command.strip() for command in task.verify)
        assert not any(path.startswith("/") or ".." in path.split("/") for path in task.paths)
        assert globs.outside(task.paths, (".git/config", ".quarterdeck/deck.toml"), ()) == (
            ".git/config",
            ".quarterdeck/deck.toml",
        )


@settings(max_examples=40)
@given(WILD)
def test_a_repair_repairs_once_and_never_breaks(plan: Plan) -> None:
    mended, notes = repair_plan(plan)
    again, more = repair_plan(mended)
    assert again == mended
    assert more == ()
    assert bool(notes) == (mended != plan)
    assert {*map(str, plan_problems(mended, AGENTS))} <= {
        *map(str, plan_problems(plan, AGENTS)),
        *map(str, cycles(mended)),  # seen only where nothing else is wrong
    }
    if refused(plan) is None:
        assert refused(mended) is None


def cycles(plan: Plan) -> list[object]:
    return [problem for problem in plan_problems(plan) if "cycle" in problem.why]


@settings(max_examples=40)
@given(WILD)
def test_warnings_are_few_and_refuse_nothing(plan: Plan) -> None:
    if refused(plan) is not None:
        return
    said = plan_warnings(plan)
    assert len(said) <= MAX_WARNINGS
    assert refused(plan) is None
    for overlap in graph.overlaps(plan):
        one, other = (plan.task(name) for name in (overlap.one, overlap.other))
        assert overlap.other not in graph.descendants(graph.needs_of(plan), [overlap.one])
        assert overlap.one not in graph.descendants(graph.needs_of(plan), [overlap.other])
        assert overlap.paths[0] in one.paths
        assert overlap.paths[1] in other.paths


# --- forms ------------------------------------------------------------------------------------------------

LEAVES = st.none() | st.booleans() | st.integers(-2, 10**20) | st.floats() | st.text(max_size=6) | st.just("\ud83d")
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
GOOD_TASK: dict[str, Any] = {
    "id": "a",
    "title": "t",
    "paths": ["a"],
    "needs": [],
    "verify": ["true"],
    "budget_usd": 1.5,
}


@st.composite
def forms(draw: st.DrawFn) -> dict[str, Any]:
    """A good plan in which one place holds anything."""
    task, plan = dict(GOOD_TASK), {"v": 1, "goal": "g", "tasks": [GOOD_TASK]}
    if draw(st.booleans()):
        task[draw(st.sampled_from([*GOOD_TASK, "agent", "design", "unknown"]))] = draw(ANYTHING)
        plan["tasks"] = [task]
    else:
        plan[draw(st.sampled_from([*plan, "design", "unknown"]))] = draw(ANYTHING)
    return plan


@settings(max_examples=60)
@given(forms())
def test_any_form_is_a_plan_or_refused_with_a_reason_that_can_be_printed(form: dict[str, Any]) -> None:
    try:
        plan = parse_plan(json.dumps(form).encode(), origin="plan.json")
    except BadPlan as error:
        assert error.why
        str(error).encode()
    else:
        assert parse_plan(dump_plan(plan).encode(), origin="again.yaml") == plan


@settings(max_examples=60)
@given(forms())
def test_any_form_is_a_handoff_or_refused_with_a_reason(form: dict[str, Any]) -> None:
    found = handoffs.parse("plan", form, goal="the goal")
    if isinstance(found, handoffs.Refused):
        assert "An example of a valid plan" in found.reason
        found.reason.encode()
    else:
        assert isinstance(found, Plan)
        assert Plan.model_validate_json(handoffs.encode(found)) == found
