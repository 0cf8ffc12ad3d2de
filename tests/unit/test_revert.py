"""What a revert decides, without git: what stands, what needs what, in which order it is taken back."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.assembly.undoing import Source, choose, standing_of
from quarterdeck.cli.config import difference, document
from quarterdeck.cli.lines import describe
from quarterdeck.delivery.blueprint import BLUEPRINTS, Turn
from quarterdeck.delivery.gate.taking_back import Standing, dependents, revert_plan, standing, taken_back, task_id
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import BudgetSection, ChecksSection, DayBudget, DeckConfig, RunConfig, SandboxSection
from quarterdeck.kernel.entities import Agent, Landed, Plan, Task
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import Conflicting
from quarterdeck.settings import wider
from quarterdeck.testing import stories
from quarterdeck.workplace.history import LogEntry

RUN = "r-00000000001"


def entry(
    commit: str, *, task: str = "", run: str = RUN, reverts: str = "", parents: Sequence[str] = ("p",)
) -> LogEntry:
    trailers = {"Quarterdeck-Run": run, "Quarterdeck-Task": task} if task else {}
    return LogEntry(commit, tuple(parents), commit, {**trailers, **({"Reverts": reverts} if reverts else {})})


def landed(task: str, commit: str = "c") -> Landed:
    return Landed(run=RUN, task=task, commit=commit, parent="p")


@pytest.mark.parametrize(
    ("history", "gone"),
    [
        ([entry("a")], set()),
        ([entry("a"), entry("b", reverts="a")], {"a"}),
        ([entry("a"), entry("b", reverts="a"), entry("c", reverts="b")], {"b"}),
        ([entry("a"), entry("b", reverts="a"), entry("c", reverts="b"), entry("d", reverts="a")], {"a", "b"}),
        ([entry("a"), entry("b", reverts="a"), entry("c", reverts="b"), entry("d", reverts="c")], {"a", "c"}),
    ],
)
def test_what_is_taken_back_and_brought_back(history: list[LogEntry], gone: set[str]) -> None:
    assert taken_back(history) == gone


@given(st.integers(min_value=0, max_value=40))
def test_each_revert_of_the_last_one_turns_it_round(times: int) -> None:
    """A commit stands after an even number of reverts, each of the one before."""
    chain = [entry("0"), *(entry(str(number), reverts=str(number - 1)) for number in range(1, times + 1))]
    assert ("0" in taken_back(chain)) == (times % 2 == 1)


@pytest.mark.parametrize(
    ("later", "stands"),
    [
        ([entry("a"), entry("b")], "ab"),
        ([entry("r", reverts="mine"), entry("again", reverts="r"), entry("b")], "b"),  # it came back
        ([entry("a"), entry("r", reverts="a"), entry("b")], "b"),
        ([entry("r", reverts="older")], "r"),
        ([entry("a"), entry("r", reverts="a"), entry("s", reverts="r")], "a"),
    ],
)
def test_what_came_and_went_is_in_nobodys_way(later: list[LogEntry], stands: str) -> None:
    assert "".join(entry.commit for entry in standing_of(later)) == stands


def test_a_rewritten_branch_is_known_by_its_trailers() -> None:
    history = [entry("new-a", task="a"), entry("x", task="a", run="r-other"), entry("b"), entry("new-c", task="c")]
    stands = standing([*history, entry("d", reverts="c")], RUN, {"a": "a", "b": "b", "c": "c", "e": "e"})
    assert {task: item.commit for task, item in stands.landed.items()} == {"a": "new-a", "b": "b"}
    assert stands.taken_back == {"c"}


def test_a_merge_commit_is_no_landed_change() -> None:
    assert standing([entry("m", task="a", parents=("p", "q"))], RUN, {"a": "a"}).landed == {}


def plan(needs: dict[str, tuple[str, ...]]) -> Plan:
    return Plan(goal="g", tasks=tuple(Task(id=name, title=name, paths=("x",), needs=n) for name, n in needs.items()))


def test_what_needs_a_task_is_found_through_others() -> None:
    four = plan({"last": ("middle",), "first": (), "middle": ("first",), "beside": ()})
    assert dependents(four, "first", ("last", "middle", "beside")) == ("last", "middle")
    assert dependents(four, "first", ("last", "beside")) == ("last",)
    assert dependents(four, "last", ("first", "middle")) == ()


def test_the_plan_takes_one_after_the_other() -> None:
    made = revert_plan("g", [landed("b"), landed("a")], {"a": "Add it", "b": "x" * 200}, again=False)
    assert [(task.id, task.needs) for task in made.tasks] == [("revert-b", ()), ("revert-a", ("revert-b",))]
    assert made.tasks[1].title == 'Revert "Add it"'
    assert len(made.tasks[0].title) == 200


@pytest.mark.parametrize(
    ("task", "title", "again", "expected"),
    [
        ("a", "A", False, ("revert-a", 'Revert "A"')),
        ("revert-a", "My own", False, ("revert-revert-a", 'Revert "My own"')),
        ("revert-a", 'Revert "A"', True, ("reapply-a", 'Reapply "A"')),
        ("reapply-a", 'Reapply "A"', True, ("revert-a", 'Revert "A"')),
        ("a" * 64, "A", False, ("revert-0123456789ab", 'Revert "A"')),
    ],
)
def test_names_of_what_is_taken_back(task: str, title: str, again: bool, expected: tuple[str, str]) -> None:
    item = landed(task, "0123456789abcdef")
    made = revert_plan("g", [item], {task: title}, again=again).tasks[0]
    assert (made.id, made.title) == expected
    assert task_id(item, again=again) == expected[0]


def test_no_outcome_of_a_revert_leads_to_another_attempt_by_itself() -> None:
    turns = {BLUEPRINTS["revert"].turn(node, outcome) for node in (Node.IMPLEMENT, Node.GATE) for outcome in Outcome}
    assert turns == {Turn.NEXT, Turn.FAIL, Turn.CANCEL}
    assert BLUEPRINTS["revert"].after(Node.IMPLEMENT, RunConfig(deck=DeckConfig())) is Node.GATE


# --- what an order chooses --------------------------------------------------------------------------------


def source(needs: dict[str, tuple[str, ...]], *, back: Sequence[str] = (), again: bool = False) -> Source:
    """A run whose tasks landed in the order of its plan; those of `back` are taken back."""
    created = stories.created(RUN, goal="Do it", repository="repo", base="base", reverts="r-other" if again else "")
    commits = {name: f"c-{name}" for name in needs}
    stands = {name: landed(name, commit) for name, commit in commits.items() if name not in back}
    titles = {name: name.title() for name in needs}
    return Source(created, plan(needs), titles, commits, "work", "tip", (), Standing(stands, frozenset(back)))


THREE: dict[str, tuple[str, ...]] = {"one": (), "two": ("one",), "other": ()}


def test_a_run_is_taken_back_newest_first_save_for_what_is_back_already() -> None:
    chosen, warnings = choose(source(THREE), "", with_dependents=False)
    assert ([item.task for item in chosen], warnings) == (["other", "two", "one"], ())
    chosen, (warning,) = choose(source(THREE, back=["two"]), "", with_dependents=False)
    assert [item.task for item in chosen] == ["other", "one"]
    assert warning.endswith("work does not hold them any more: two")


def test_a_task_that_others_need_is_refused_unless_they_go_with_it() -> None:
    with pytest.raises(Conflicting, match="two needs one"):
        choose(source(THREE), "one", with_dependents=False)
    chosen, (warning,) = choose(source(THREE), "one", with_dependents=True)
    assert [item.task for item in chosen] == ["two", "one"]
    assert "two" in warning
    # What is taken back already needs nothing any more, and the tasks of a revert do not build on each other.
    assert [item.task for item in choose(source(THREE, back=["two"]), "one", with_dependents=False)[0]] == ["one"]
    assert [item.task for item in choose(source(THREE, again=True), "one", with_dependents=False)[0]] == ["one"]


@pytest.mark.parametrize(("task", "words"), [("two", "two is taken back already"), ("none", "none never landed")])
def test_what_cannot_be_taken_back_is_refused(task: str, words: str) -> None:
    with pytest.raises(Conflicting, match=words) as refused:
        choose(source(THREE, back=["two"]), task, with_dependents=False)
    assert refused.value.fix


# --- configuration as text --------------------------------------------------------------------------------


def test_a_difference_names_what_changed_and_nothing_else() -> None:
    used = RunConfig(deck=DeckConfig(), agents={"a": Agent(name="a", prompt="One.\nTwo.")}, origin=("from here",))
    today = RunConfig(
        deck=DeckConfig(checks=ChecksSection(gate=("make",))), agents={"a": Agent(name="a", prompt="One.\nThree.")}
    )
    changed = {line for line in difference(used, today) if line[:1] in "+-" and line[:3] not in ("+++", "---")}
    assert changed == {"-gate = []", '+gate = ["make"]', "-Two.", "+Three."}
    assert difference(used, used.model_copy(update={"origin": (), "runs_on": ("here",)})) == []


def test_everything_a_run_depends_on_is_in_its_document() -> None:
    """A field of the configuration that the document forgets would be a difference that nobody sees."""
    base = RunConfig(deck=DeckConfig())
    changes: dict[str, Any] = {
        "deck": DeckConfig(checks=ChecksSection(timeout=61.0)),
        "agents": {"x": Agent(name="x")},
        "default_agent": "x",
        "blueprint": "revert",
        "guide": "text",
        "narrowed": DayBudget(user_day=1.0),
        "agent_named": True,
        "runs_on": ("here",),
    }
    assert set(changes) | {"origin"} == set(RunConfig.model_fields)
    for field, value in changes.items():
        assert document(base.model_copy(update={field: value})) != document(base), field


def test_what_an_earlier_configuration_allows_beyond_todays_is_named() -> None:
    free = DeckConfig(
        budget=BudgetSection(run=9.0),
        sandbox=SandboxSection(backend="none", network=("a.example", "b.example"), memory_mb=128),
        checks=ChecksSection(gate=("true",)),
    )
    tight = DeckConfig(sandbox=SandboxSection(network=("b.example",)), budget=BudgetSection(run=5.0))
    assert wider(free, tight) == (
        "budget.run was 9.0, today it is 5.0",
        "sandbox.backend was none, today it is bubblewrap",
        "sandbox.network was a.example, b.example, today it is b.example",
    )
    assert wider(free, free) == ()


def test_a_revert_is_told_as_one_in_the_log() -> None:
    created = source(THREE, again=True).created.model_copy(update={"config_of": "r-config"})
    line = describe(Record(f"run/{RUN}", 1, 0.0, 1, created, ""))
    assert ", reverts r-other, with the configuration of r-config, onto work" in line.text
    started = e.AttemptStarted(
        run=RUN, task="a", number=1, agent="git", harness=None, incarnation=1, base="c" * 40, workspace=""
    )
    assert describe(Record(f"attempt/{RUN}.a.1", 1, 0.0, 1, started, "")).text == "git starts from cccccccccc"
