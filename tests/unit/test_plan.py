"""Plan files: what is read, what is refused with which place and reason, what is mended, what is written."""

import json
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.delivery.plans.document import MAX_BYTES
from quarterdeck.delivery.plans.plan import check_plan, dump_plan, parse_plan, plan_problems, plan_warnings, repair_plan
from quarterdeck.kernel.entities import Plan, Task
from quarterdeck.kernel.failures import BadPlan, Exit

ROOT = Path(__file__).resolve().parents[2]

GOOD = """\
v: 1
goal: Retry with backoff
tasks:
  - id: backoff
    title: Exponential backoff helper
    instructions: |
      Write it.
      Test it.
    paths: ["src/hooks/backoff.py", "tests/test_backoff.py"]
    needs: []
    agent: implementer
    verify: ["pytest -q tests/test_backoff.py"]
    budget_usd: 0.50
  - id: sender
    title: Use it
    paths: [src/hooks/sender.py]
    needs: [backoff]
    verify: [true]
"""


def parse(text: str | bytes, *, origin: str = "plan.yaml", agents: set[str] | None = None) -> Plan:
    return parse_plan(text.encode() if isinstance(text, str) else text, origin=origin, agents=agents)


def refusal(text: str | bytes, *, origin: str = "plan.yaml", agents: set[str] | None = None) -> str:
    with pytest.raises(BadPlan) as caught:
        parse(text, origin=origin, agents=agents)
    assert caught.value.exit_code == Exit.USAGE
    assert caught.value.fix
    assert origin in str(caught.value)
    return str(caught.value)


def test_the_contracts_example_is_read() -> None:
    plan = parse(GOOD, agents={"implementer"})
    assert plan.task("backoff").instructions == "Write it.\nTest it.\n"
    assert plan.task("backoff").budget_usd == 0.5
    assert plan.task("sender").needs == ("backoff",)
    assert plan_warnings(plan) == ()


def test_what_yaml_would_guess_is_taken_as_written() -> None:
    plan = parse(GOOD.replace("[true]", "[true, no, 1, 1.50, null, 2026-01-02, 0x10, 'on']"))
    assert plan.task("sender").verify == ("true", "no", "1", "1.50", "null", "2026-01-02", "0x10", "on")


def test_empty_optional_keys_count_as_left_out() -> None:
    plan = parse(GOOD.replace("needs: []", "needs:").replace("agent: implementer", "agent: ~"))
    assert plan.task("backoff").needs == ()
    assert plan.task("backoff").agent is None


def test_json_is_read_with_and_without_its_ending() -> None:
    plan = parse(GOOD)
    text = plan.model_dump_json()
    assert parse(text, origin="plan.json") == plan
    assert parse(text) == plan
    assert parse("\ufeff" + text) == plan


def test_json_text_keeps_what_yaml_cannot_read() -> None:
    goal = "tab\tsmile \U0001f600 / slash"
    text = json.dumps({"v": 1, "goal": goal, "tasks": [{"id": "a", "title": "t", "paths": ["a"]}]})
    assert parse(text.replace("/ slash", "\\/ slash")).goal == goal


def test_flow_style_yaml_that_is_not_json_is_read() -> None:
    assert parse("{v: 1, goal: g, tasks: [{id: a, title: t, paths: [a]}]}").goal == "g"


def test_anchors_and_aliases_are_references() -> None:
    plan = parse(GOOD.replace("needs: []", "needs: &none []").replace("verify: [true]", "verify: *none"))
    assert plan.task("sender").verify == ()


@pytest.mark.parametrize(
    ("old", "new", "place", "reason"),
    [
        ("v: 1", "v: 2", "line 1, column 4", "only version 1"),
        ("v: 1", "v: true", "line 1, column 4", "only version 1"),
        ("v: 1", "v: '1'", "line 1, column 4", "only version 1"),
        ("v: 1\n", "", "line 1, column 1", "`v` is missing"),
        ("goal: Retry with backoff\n", "", "line 1, column 1", "`goal` is missing"),
        ("goal: Retry with backoff", "goal: ''", "line 2, column 7", "must not be empty"),
        ("goal: Retry with backoff", "goal: [x]", "line 2, column 7", "text belongs here"),
        ("goal: Retry", "v: 1\ngoal: Retry", "line 2, column 1", "`v` stands twice"),
        ("goal: Retry", "colour: red\ngoal: Retry", "line 2, column 1", "unknown key `colour`"),
        ("    title: Use it\n", "", "line 14, column 5", "task sender): the key `title` is missing"),
        ("    title: Use it", "    titel: Use it", "line 15, column 5", "unknown key `titel`"),
        ("title: Use it", "title: {a: b}", "line 15, column 12", "text belongs here"),
        ("id: sender", "id: backoff", "line 14, column 9", "stands twice"),
        ("id: sender", "id: Sender_2", "line 14, column 9", "an id is"),
        ("id: sender", "id: ''", "line 14, column 9", "an id is"),
        ("needs: [backoff]", "needs: [bakcoff]", "line 17, column 12", "unknown task `bakcoff`"),
        ("needs: [backoff]", "needs: backoff", "line 17, column 12", "a list belongs here"),
        ("needs: []", "needs: [sender]", "line 10, column 12", "a cycle: `backoff` needs `sender` needs `backoff`"),
        ("needs: []", "needs: [backoff]", "line 10, column 12", "a cycle: `backoff` needs `backoff`"),
        ("agent: implementer", "agent: nobody", "line 11, column 12", "unknown agent `nobody` (known: implementer)"),
        ("paths: [src/hooks/sender.py]", "paths: []", "line 16, column 12", "must not be empty"),
        ("[src/hooks/sender.py]", "[/src/x.py]", "line 16, column 12", "absolute"),
        ("[src/hooks/sender.py]", "[../x.py]", "line 16, column 12", "`..`"),
        ("[src/hooks/sender.py]", "['a\\b']", "line 16, column 12", "backslash"),
        ("[src/hooks/sender.py]", '["a\\0b"]', "line 16, column 12", "control character"),
        ("[src/hooks/sender.py]", "[.git/hooks/]", "line 16, column 12", "no task may change"),
        ("verify: [true]", "verify: ['']", "line 18, column 13", "an empty command"),
        ("verify: [true]", 'verify: ["\\0"]', "line 18, column 13", "a NUL character"),
        ("budget_usd: 0.50", "budget_usd: much", "line 13, column 17", "a number"),
        ("budget_usd: 0.50", "budget_usd: '0.5'", "line 13, column 17", "a number"),
        ("budget_usd: 0.50", "budget_usd: .inf", "line 13, column 17", "a number"),
        ("budget_usd: 0.50", "budget_usd: -1", "line 13, column 17", "at least 0"),
        ("title: Use it", "title: [", "line 17, column 5", "not valid YAML"),
        ("title: Use it", "title: !!str x", "line 15, column 12", "tag"),
        ("title: Use it", "title: *nothing", "line 15, column 12", "refers to nothing"),
        ("title: Use it", "? [a]\n    : x", "line 15, column 7", "a key is a word"),
    ],
)
def test_a_bad_plan_is_refused_with_place_and_reason(old: str, new: str, place: str, reason: str) -> None:
    assert old in GOOD
    said = refusal(GOOD.replace(old, new, 1), agents={"implementer"})
    assert place in said
    assert reason in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("# nothing\n", "empty"),
        ("---\n", "empty"),
        ("just words", "a mapping"),
        ("- a\n- b\n", "a mapping"),
        ("v: 1\ngoal: g\ntasks: []\n", "no tasks"),
        ("v: 1\ngoal: g\ntasks: {}\n", "a list"),
        ("v: 1\ngoal: g\ntasks: [x]\n", "tasks[0]"),
        (GOOD + "---\n" + GOOD, "second document"),
        ("a: \0", "not valid YAML"),
        (b"\xff\xfe", "not UTF-8"),
        ("a: " + "[" * 60 + "]" * 60, "deeper than 50"),
        ("[" * 1_000_000, "deeper than 50"),
        ('{"a":' * 100_000, "deeper than 50"),
        ("x" * (MAX_BYTES + 1), "longer than"),
        ("- 1\n" * 100_001, "parts"),
        ("a: &a [*a]", "refers to nothing"),
        ('{"v": 1, "v": 1}', "stands twice"),
        ('{"v": NaN}', "NaN"),
        ('{"v": 1, "goal": "\\ud800", "tasks": []}', "not a character"),
    ],
)
def test_what_is_no_plan_at_all_is_refused(text: str | bytes, reason: str) -> None:
    assert reason in refusal(text)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("verify", [True], "text belongs here, not bool `true`"),
        ("title", 3, "text belongs here, not number"),
        ("budget_usd", "1", "a number"),
        ("needs", "a", "a list"),
        ("paths", ["/x"], "absolute"),
        ("colour", 1, "unknown key"),
    ],
)
def test_json_is_strict_about_types_and_names_the_task(key: str, value: object, reason: str) -> None:
    task = {"id": "one", "title": "t", "paths": ["a"], key: value}
    said = refusal(json.dumps({"v": 1, "goal": "g", "tasks": [task]}), origin="plan.json")
    assert reason in said
    assert "task one" in said


def test_broken_json_says_where() -> None:
    assert "line 2, column 1" in refusal('{"v": 1,\n', origin="plan.json")


def test_everything_wrong_in_a_well_formed_plan_is_said_at_once() -> None:
    said = refusal(GOOD.replace("[backoff]", "[nope]").replace("src/hooks/sender.py", "/abs"))
    assert "unknown task `nope`" in said
    assert "absolute" in said


def test_an_alias_bomb_is_bounded_in_text() -> None:
    shared = "x" * 150_000
    tasks = "".join(f"  - {{id: t{n}, title: t, paths: [a{n}], instructions: *long}}\n" for n in range(200))
    text = f"v: 1\ngoal: g\ntasks:\n  - {{id: first, title: t, paths: [a], instructions: &long {shared}}}\n{tasks}"
    assert "with its aliases the plan is longer" in refusal(text)


def test_a_thousand_tasks_are_read_and_one_more_is_not() -> None:
    head = "v: 1\ngoal: g\ntasks:\n"
    tasks = [f"- {{id: t{number}, title: t, paths: [a/{number}.py]}}\n" for number in range(1001)]
    assert len(parse(head + "".join(tasks[:1000])).tasks) == 1000
    assert "1001 tasks are more than 1000" in refusal(head + "".join(tasks))


def test_a_planners_plan_is_checked_without_a_file() -> None:
    task = Task(id="a", title="t", paths=("a",), needs=("a",))
    with pytest.raises(BadPlan, match="a cycle"):
        check_plan(Plan(goal="g", tasks=(task,)), origin="the planner's plan")
    mended, notes = repair_plan(Plan(goal="g", tasks=(task,)))
    check_plan(mended, origin="the planner's plan")
    assert mended.tasks[0].needs == ()
    assert "needed itself" in notes[0]


def test_repair_leaves_a_good_plan_alone() -> None:
    plan = parse(GOOD)
    assert repair_plan(plan) == (plan, ())


def test_repair_drops_repetitions_and_says_so() -> None:
    task = Task(id="b", title="t", paths=("./a", "a", "c"), needs=("a", "a"))
    first = Task(id="a", title="t", paths=("a",))
    mended, notes = repair_plan(Plan(goal="g", tasks=(first, task)))
    assert mended.tasks[1].paths == ("a", "c")
    assert mended.tasks[1].needs == ("a",)
    assert len(notes) == 2


def test_warnings_name_overlaps_missing_checks_and_wide_globs() -> None:
    plan = Plan(
        goal="g",
        tasks=(
            Task(id="a", title="t", paths=("src/",), verify=("true",)),
            Task(id="b", title="t", paths=("src/x.py",), verify=("true",)),
            Task(id="c", title="t", paths=("**",), needs=("a", "b")),
        ),
    )
    said = plan_warnings(plan)
    assert any("tasks a and b may change the same files (`src/` and `src/x.py`)" in line for line in said)
    assert any("task c has no `verify`" in line for line in said)
    assert any("task c may change everything" in line for line in said)
    assert len(said) == 3
    assert plan_problems(plan) == ()


def test_the_plans_in_the_documentation_are_usable() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    plans = [block for page in pages for block in re.findall(r"```yaml\n(v: 1\n.*?)```", page.read_text(), re.DOTALL)]
    assert len(plans) >= 2
    for text in plans:
        assert plan_warnings(parse(text)) == ()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
COMMANDS = TEXT.map(lambda text: text.replace("\0", "")).filter(str.strip)
IDS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=6)
PATHS = st.text(string.ascii_letters + " []*?#&:'\"{}-", min_size=1, max_size=12).filter(str.strip)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    ids = draw(st.lists(IDS, min_size=1, max_size=5, unique=True))
    tasks = tuple(
        Task(
            id=name,
            title=draw(TEXT.filter(bool)),
            instructions=draw(TEXT),
            design=draw(TEXT),
            paths=tuple(draw(st.lists(PATHS, min_size=1, max_size=3))),
            needs=tuple(draw(st.lists(st.sampled_from(ids[:at]), max_size=2))) if at else (),
            agent=draw(st.none() | IDS),
            verify=tuple(draw(st.lists(COMMANDS, max_size=3))),
            budget_usd=draw(st.none() | st.floats(0, 1e9, allow_nan=False)),
        )
        for at, name in enumerate(ids)
    )
    return Plan(goal=draw(TEXT.filter(bool)), design=draw(TEXT), tasks=tasks)


@given(plans())
def test_what_is_written_is_read_back_as_the_same_plan(plan: Plan) -> None:
    assert parse(dump_plan(plan)) == plan
    assert parse(plan.model_dump_json(), origin="plan.json") == plan


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_anything_else_is_refused_and_never_crashes(data: str | bytes) -> None:
    refusal(data)
