"""Who owns what: the choice is a function of the definitions alone, and never goes to one who may not do the work."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.agents.command import task_document
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.prompts import JUDGES, OWNERS, first_message
from quarterdeck.delivery.plans.globs import glob_matches, within
from quarterdeck.delivery.plans.ownership import (
    agent_of_task,
    all_warnings,
    check_given,
    check_owners,
    fleet_warnings,
    owner_of,
    owners_told,
    specificity,
)
from quarterdeck.delivery.validation.validate import structure_problems
from quarterdeck.journal.port import Claim
from quarterdeck.kernel.config import LimitsSection, RunConfig
from quarterdeck.kernel.entities import Agent, Plan, Task
from quarterdeck.kernel.failures import BadConfiguration, BadPlan
from quarterdeck.workplace.history import FileChange

PART = st.sampled_from(["src", "api", "web", "*", "**", "a.py", "*.py", "b.md", "*.md", "a*"])
GLOB = st.builds(
    lambda parts, end: "/".join(parts) + end, st.lists(PART, min_size=1, max_size=4), st.sampled_from(["", "/"])
)
FILE = st.lists(st.sampled_from(["src", "api", "web", "a.py", "b.md", "ab.py"]), min_size=1, max_size=5).map("/".join)


def agent(name: str, *owns: str, **fields: object) -> Agent:
    return Agent.model_validate({"name": name, "owns": owns, **fields})


def task(*paths: str, name: str | None = None) -> Task:
    return Task(id="t", title="t", paths=paths, agent=name)


def fleet(*agents: Agent, **fields: object) -> RunConfig:
    return RunConfig.model_validate({"deck": {}, "agents": {each.name: each for each in agents}, **fields})


# --- one pattern within another ---------------------------------------------------------------------------


@given(GLOB, GLOB, FILE)
def test_what_is_within_is_never_outside(inner: str, outer: str, file: str) -> None:
    if within(inner, outer) and glob_matches(inner, file):
        # a name without wildcards may be a directory; then it does not name the file itself
        literal_file = inner.rstrip("/") == file
        assert glob_matches(outer, file) or literal_file


@pytest.mark.parametrize(
    ("inner", "outer", "inside"),
    [
        ("src/api/a.py", "src/api/", True),
        ("src/api/a.py", "src/**", True),
        ("src/api", "src/api/", True),
        ("src/api/**", "src/", True),
        ("src/*/a.py", "src/**", True),
        ("src/*/a.py", "src/*/a.py", True),
        ("*.py", "*.py", True),
        ("docs/a.md", "*.md", True),
        ("src/**", "src/api/**", False),
        ("src/*", "src/a.py", False),
        ("**", "src/**", False),
        ("web/a.py", "src/**", False),
        ("src", "src/api", False),
    ],
)
def test_patterns_within_patterns(inner: str, outer: str, *, inside: bool) -> None:
    assert within(inner, outer) is inside


# --- the owner --------------------------------------------------------------------------------------------

FLEETS = st.lists(st.lists(GLOB, max_size=3), min_size=1, max_size=4)


@given(FLEETS, st.lists(GLOB, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_the_owner_owns_everything_and_does_not_depend_on_the_order(
    owns: list[list[str]], paths: list[str], rnd: object
) -> None:
    agents = {f"a{number}": agent(f"a{number}", *each) for number, each in enumerate(owns)}
    found = owner_of(task(*paths), agents)
    assert owner_of(task(*paths), dict(reversed(agents.items()))) == found
    able = [name for name, each in agents.items() if all(any(within(p, o) for o in each.owns) for p in paths)]
    assert (found in able) if able else (found is None)


def test_the_most_specific_owner_wins_then_the_first_by_name() -> None:
    agents = {each.name: each for each in (agent("web", "src/**"), agent("api", "src/api/"), agent("all", "src/**"))}
    assert owner_of(task("src/api/a.py"), agents) == "api"
    assert owner_of(task("src/api/a.py", "src/b.py"), agents) == "all"
    assert owner_of(task("src/api/a.py", "docs/b.md"), agents) is None
    assert owner_of(task("src/x.py"), {"critic": agent("critic", "src/**", expects="review")}) is None
    assert specificity("src/api/a.py") > specificity("src/api/") > specificity("src/**") > specificity("**")


def test_a_task_goes_to_whom_the_plan_or_a_person_names_then_to_its_owner() -> None:
    config = fleet(agent("implementer"), agent("api", "src/api/"))
    assert agent_of_task(task("src/api/a.py"), config) == "api"
    assert agent_of_task(task("src/api/a.py", name="implementer"), config) == "implementer"
    assert agent_of_task(task("docs/a.md"), config) == "implementer"
    named = config.model_copy(update={"agent_named": True})
    assert agent_of_task(task("src/api/a.py"), named) == "implementer"


# --- plans ------------------------------------------------------------------------------------------------


def test_a_plan_that_gives_a_task_to_one_who_owns_none_of_it_is_refused() -> None:
    config = fleet(agent("implementer"), agent("api", "src/api/"), agent("docs", "*.md"))
    with pytest.raises(BadPlan, match=r"task t, agent: `docs` owns none of its paths .*; `api` owns them"):
        check_given(Plan(goal="g", tasks=(task("src/api/a.py", name="docs"),)), config, origin="plan.yaml")
    check_given(Plan(goal="g", tasks=(task("src/api/a.py", name="implementer"),)), config, origin="plan.yaml")


def test_one_that_owns_a_part_is_warned_of() -> None:
    config = fleet(agent("api", "src/api/"))
    plan = Plan(
        goal="g", tasks=(task("src/api/a.py", "docs/a.md", name="api").model_copy(update={"verify": ("true",)}),)
    )
    check_given(plan, config, origin="plan.yaml")
    (warning,) = all_warnings(plan, config)
    assert warning.startswith(
        "task t: `api` owns only a part of what the task may change: what it changes in docs/a.md"
    )


def test_a_planner_is_told_who_owns_what() -> None:
    assert owners_told({"implementer": agent("implementer")}) == ""
    agents = {
        "implementer": agent("implementer"),
        "api": agent("api", "src/api/"),
        "critic": agent("critic", expects="review"),
    }
    told = owners_told(agents)
    assert told == "- api: src/api/\n- implementer: owns nothing, takes any task"
    assignment = Assignment(
        run="r",
        attempt="r._plan.1",
        number=1,
        incarnation=1,
        agent=agent("planner", expects="plan"),
        claim=Claim("attempt/r._plan.1", 1),
        sandbox=cast(Any, None),
        config=fleet(*agents.values()),
        goal="g",
        owners=told,
        judges="- Makefile",
    )
    assert f"## Who owns what\n{OWNERS}\n{told}" in first_message(assignment)
    assert f"## What the gate runs\n{JUDGES}\n- Makefile" in first_message(assignment)
    document = task_document(assignment)
    assert (document["owners"], document["judges"]) == (told, "- Makefile")


# --- the fleet --------------------------------------------------------------------------------------------


def test_what_no_file_can_match_cannot_be_owned() -> None:
    with pytest.raises(BadConfiguration, match=r"`api` cannot be used: owns: `\.\.` in a path"):
        check_owners({"api": agent("api", "../x")})


def test_circles_and_overlaps_are_warned_of_once() -> None:
    agents = (
        agent("api", "src/**", delegates_to=("web",), escalates_to="web"),
        agent("web", "src/api/", delegates_to=("api", "scout"), escalates_to="api"),
        agent("scout", delegates_to=("scout",), escalates_to="critic"),
        agent("critic", expects="review"),
    )
    assert list(fleet_warnings({each.name: each for each in agents})) == [
        "api and web may own the same files (`src/**` and `src/api/`): the more specific pattern decides",
        "delegation could close a circle: api -> web -> api; it is refused where it would",
        "delegation could close a circle: scout -> scout; it is refused where it would",
        "scout escalates to critic, which hands in a review and is passed over",
        "escalation goes in a circle: api -> web -> api; each agent has its turn once, then it ends",
    ]


def test_a_change_outside_of_what_its_author_owns_is_sent_back() -> None:
    changes = [FileChange(path, path, "M", "100644", "100644", 1) for path in ("src/api/a.py", "src/b.py")]
    found = structure_problems(
        task("src/**"), changes, {"src/api/a.py", "src/b.py"}, {}, LimitsSection(), (), agent("api", "src/api/")
    )
    assert found == ("outside of what api owns (src/api/): src/b.py",)
    free = structure_problems(task("src/**"), changes, set(), {}, LimitsSection(), (), agent("implementer"))
    assert free == ()
