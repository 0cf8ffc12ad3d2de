"""Which new tests prove something, and what is done about findings."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.delivery.validation.commands import sole
from quarterdeck.delivery.validation.findings import (
    Remark,
    Rule,
    Spot,
    Survey,
    TestName,
    Weakening,
    blocking,
    levelled,
    listed,
    only_tests,
    pins,
    remarks,
)
from quarterdeck.delivery.validation.inspection import (
    UNTRIED,
    fitted,
    idle_tests,
    passing_with_tests,
    survey,
    tried,
    wanted_trials,
)
from quarterdeck.delivery.validation.proof import (
    Proof,
    Trial,
    Verdict,
    bent,
    fits,
    holding,
    idle,
    judge,
    narrowed,
    rest,
    trials,
    unrun,
    unwatched,
    verdict,
)
from quarterdeck.delivery.validation.runners import (
    ANY,
    BUN,
    CARGO,
    GO,
    JAVASCRIPT,
    MOCHA,
    NODE,
    PYTEST,
    UNITTEST,
    Runner,
)
from quarterdeck.delivery.validation.survey.silence import Silence
from quarterdeck.kernel.config import ChecksSection, Level, ValidationSection
from quarterdeck.kernel.entities import Change, Task
from quarterdeck.workplace.history import FileChange
from quarterdeck.workplace.port import ExecResult, Sandbox

NEW = TestName(path="tests/test_a.py", name="TestA::test_new", new=True)
PLAIN = TestName(path="tests/test_a.py", name="test_plain", new=True)
TASK = Task(id="a", title="A", paths=("src/", "tests/"))


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("pytest -q", True),
        ("PYTHONPATH=src python3 -m unittest -q", True),
        ("cd x && pytest", False),
        ("pytest | tee log", False),
        ("pytest > log", False),
        ("sh -c 'pytest'", False),
        ("make test", False),
        ("pytest # all", False),
    ],
)
def test_a_sole_command_takes_more_arguments(command: str, says: bool) -> None:
    assert sole(command) is says


def named(path: str, name: str) -> TestName:
    return TestName(path=path, name=name, new=True)


@pytest.mark.parametrize(
    ("runner", "command", "test", "narrow"),
    [
        (UNITTEST, "python3 -m unittest", NEW, "python3 -m unittest -k TestA.test_new"),
        (GO, "go test ./...", named("a_test.go", "TestX"), "go test ./... -run '^(TestX)$'"),
        (CARGO, "cargo test", named("tests/a.rs", "works"), "cargo test -- works"),
        (JAVASCRIPT, "npx jest", named("a.test.js", "adds 1"), "npx jest -t 'adds\\ 1'"),
        (MOCHA, "npx mocha", named("a.test.js", "adds"), "npx mocha -g adds"),
        (BUN, "bun test", named("a.test.ts", "adds"), "bun test -t adds"),
        (NODE, "node --test x", named("x/a.test.js", "a"), "node --test --test-name-pattern=a x"),
    ],
)
def test_a_runner_is_told_which_tests(runner: Runner, command: str, test: TestName, narrow: str) -> None:
    assert narrowed(command, runner, (test,)) == Trial(narrow, runner, (test,), exact=True)


def test_only_commands_that_may_run_the_tests_are_tried() -> None:
    assert [trial.command for trial in trials(["ruff check .", "go test ./...", "pytest -q"], [NEW])] == ["pytest -q"]
    assert [trial.exact for trial in trials(["cd x && python3 -m unittest"], [NEW])] == [False]
    assert [trial.runner for trial in trials(["make test"], [NEW])] == [PYTEST]
    assert trials(["pytest -q"], []) == ()


def run(where: Path, trial: Trial) -> Proof:
    path = f"{Path(sys.executable).parent}:{os.defpath}"
    done = subprocess.run(
        ["sh", "-c", trial.command],
        cwd=where,
        env={"PATH": path, **trial.env},
        capture_output=True,
        text=True,
        check=False,
    )
    return judge(trial, done.returncode, done.stdout + done.stderr)


SOURCE = """\
import unittest
{head}
def test_plain():
    assert True
def test_old():
    raise AssertionError
class TestA(unittest.TestCase):
    def test_new(self):
        self.assertEqual({expression}, 1)
"""


@pytest.mark.parametrize(
    ("head", "expression", "says", "passed"),
    [
        ("", "1", Verdict.EMPTY, (NEW, PLAIN)),
        ("", "2", Verdict.PROVEN, (PLAIN,)),
        ("import what_the_change_brings", "1", Verdict.PROVEN, ()),
    ],
)
def test_what_pytest_says(
    tmp_path: Path, head: str, expression: str, says: Verdict, passed: tuple[TestName, ...]
) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(SOURCE.format(head=head, expression=expression))
    trial = narrowed("pytest -q tests", PYTEST, (NEW, PLAIN))
    assert run(tmp_path, trial) == Proof(says, passed)


def test_what_is_expected_to_fail_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "import pytest\n@pytest.mark.xfail\ndef test_n(): assert False\n@pytest.mark.skip\ndef test_m(): assert False\n"
    )
    failing, skipped = (TestName(path="test_a.py", name=name, new=True) for name in ("test_n", "test_m"))
    trial = narrowed("pytest -q", PYTEST, (failing, skipped))
    assert run(tmp_path, trial) == Proof(Verdict.EMPTY, (failing,))
    assert run(tmp_path, narrowed("pytest -q", PYTEST, (skipped,))) == Proof(Verdict.SILENT)


@pytest.mark.parametrize(
    ("commands", "named"),
    [
        (["pytest -q tests/test_b.py"], True),
        (["pytest tests/test_b.py::test_x", "PYTHONPATH=src python3 -m pytest -x --tb=short tests/sub/"], True),
        (["python3 -m unittest -q tests.test_b"], True),
        (["python3 -m unittest test_b.TestB.test_x"], True),
        ([], False),
        (["pytest -q tests/test_b.py", "ruff check ."], False),  # who knows what else starts tests
        (["pytest -q"], False),
        (["pytest -q tests"], False),
        (["pytest ./tests/"], False),
        (["pytest tests/test_a.py::test_x"], False),
        (["pytest -c tests/b.ini"], False),
        (["pytest tests/test_[ab].py"], False),
        (["cd sub && pytest tests/test_b.py"], False),
        (["uv run --directory sub pytest tests/test_b.py"], False),
        (["make test"], False),
        (["python3 -m unittest discover tests"], False),
        (["python3 -m unittest test_a.TestB"], False),
        (["python3 -m unittest tests.test_a", "pytest tests/test_b.py"], False),
        (["python3 -m unittest tests"], False),
        (["python3 -m unittest tests/test_a.py"], False),
        (["python3 -m unittest -k x tests.test_b"], False),
    ],
)
def test_new_tests_that_no_command_runs_are_named(commands: list[str], named: bool) -> None:
    found = unrun(commands, [NEW, NEW.model_copy(update={"new": False}), TestName(path="a.js", name="a", new=True)])
    says = ["tests/test_a.py: the new test `TestA::test_new` is run by no verify command"] if named else []
    assert [(str(remark), remark.blocking) for remark in found] == [(said, False) for said in says]


@pytest.mark.parametrize(
    ("command", "old", "new", "named"),
    [
        ("pytest -q tests", "tests/test_a.py", "src/test_a.py", True),
        ("python3 -m unittest tests.test_a", "tests/test_a.py", "tests/test_b.py", True),
        ("pytest -q tests", "tests/test_a.py", "tests/sub/test_b.py", False),
        ("pytest -q tests", "tests/help.py", "src/help.py", False),
        ("pytest -q src", "tests/test_a.py", "more/test_a.py", False),
        ("pytest -q", "tests/test_a.py", "src/test_a.py", False),
        ("make test", "tests/test_a.py", "src/test_a.py", False),
    ],
)
def test_tests_do_not_move_to_where_no_check_runs_them(command: str, old: str, new: str, named: bool) -> None:
    moved = FileChange(path=new, old_path=old, status="R", old_mode="100644", new_mode="100644", size=9)
    found = unwatched([command], TASK, [moved])
    assert [(remark.path, remark.blocking) for remark in found] == ([(new, True)] if named else [])
    assert not unwatched([command, "make test"], TASK, [moved]), "who knows what that runs"
    assert not blocking(unwatched([command], TASK.model_copy(update={"paths": ("tests/",)}), [moved]))


def test_new_tests_that_do_not_count_prove_nothing() -> None:
    always, here, elsewhere = (
        NEW.model_copy(update={"silence": silence}) for silence in (Silence.ALWAYS, Silence.HERE, Silence.ELSEWHERE)
    )
    edited = always.model_copy(update={"new": False})
    cases = [([always], [True]), ([here], [False]), ([always, PLAIN], [False]), ([elsewhere], []), ([edited], [])]
    for tests, grave in cases:
        assert [remark.blocking for remark in idle(tests)] == grave
    told, levels = Survey(tests=(always, PLAIN)), ValidationSection()
    (trial,) = wanted_trials(TASK.model_copy(update={"verify": ("pytest",)}), told, levels)
    assert trial.tests == (PLAIN,)
    assert idle_tests(TASK, told, levels)
    assert not idle_tests(TASK.model_copy(update={"paths": ("tests/",)}), told, levels)


@pytest.mark.parametrize(("expression", "says"), [("1", Verdict.EMPTY), ("2", Verdict.PROVEN)])
def test_what_unittest_says(tmp_path: Path, expression: str, says: Verdict) -> None:
    (tmp_path / "test_a.py").write_text(SOURCE.format(head="", expression=expression))
    assert run(tmp_path, narrowed("python3 -m unittest -q", UNITTEST, (NEW,))) == Proof(says)
    elsewhere = TestName(path="test_a.py", name="TestA::test_other", new=True)
    assert run(tmp_path, narrowed("python3 -m unittest -q", UNITTEST, (elsewhere,))) == Proof(Verdict.SILENT)


def test_what_follows_from_a_trial() -> None:
    trial = narrowed("pytest", PYTEST, (NEW, PLAIN))
    (blocked,) = verdict([(trial, Proof(Verdict.EMPTY, (NEW, PLAIN)))])
    assert blocked.blocking
    (told,) = verdict([(trial, Proof(Verdict.EMPTY, (NEW,))), (trial, Proof(Verdict.PROVEN, (PLAIN,)))])
    assert (told.blocking, told.problem) == (False, "`test_plain` passes without the change, too")
    assert verdict([(trial, Proof(Verdict.SILENT))]) == ()
    edited = NEW.model_copy(update={"new": False})
    (mild,) = verdict([(trial, Proof(Verdict.EMPTY, (edited,)))])
    assert not mild.blocking, "in other words it may say the same as before"
    unsure = Trial("cd x && pytest", UNITTEST, (NEW,), exact=False)
    (mild,) = verdict([(unsure, judge(unsure, 0, "Ran 3 tests in 0.1s\n\nOK"))])
    assert not mild.blocking
    assert "do they prove the rest of the change? tests/test_a.py::TestA::test_new" in mild.problem
    assert verdict([(unsure, judge(unsure, 1, "Ran 3 tests in 0.1s\n\nFAILED"))]) == ()


@pytest.mark.parametrize(
    ("command", "test", "runner", "output", "says"),
    [
        (
            "make test",
            NEW,
            PYTEST,
            "PASSED tests/test_a.py::TestA::test_new\n1 passed in 0.1s",
            Proof(Verdict.EMPTY, (NEW,)),
        ),
        ("make test", NEW, PYTEST, "FAILED tests/test_a.py::TestA::test_new - x", Proof(Verdict.PROVEN)),
        ("tox", NEW, PYTEST, "30 passed in 0.1s", Proof(Verdict.EMPTY, sure=False)),
        ("make test", NEW, PYTEST, "Ran 3 tests in 0.1s\n\nOK", Proof(Verdict.EMPTY, sure=False)),
        ("make test", NEW, PYTEST, "all good", Proof(Verdict.SILENT)),
        ("npm test", named("a.test.js", "a"), ANY, "  3 passing (1ms)", Proof(Verdict.EMPTY, sure=False)),
        ("./scripts/test", named("a_test.go", "TestX"), ANY, "ok  \tx\t0.1s", Proof(Verdict.EMPTY, sure=False)),
        ("python run_tests.py", NEW, PYTEST, "no tests ran in 0.1s", Proof(Verdict.SILENT)),
    ],
)
def test_what_a_launcher_says(command: str, test: TestName, runner: Runner, output: str, says: Proof) -> None:
    (trial,) = trials([command], [test])
    assert (trial.command, trial.runner) == (command, runner)
    assert judge(trial, 1 if "FAILED" in output else 0, output) == says


def test_the_rest_of_a_change_is_what_is_no_test() -> None:
    assert rest(["src/a.py", "tests/test_a.py", "tests/data.json", "conftest.py", "README"]) == ("src/a.py", "README")


@pytest.mark.parametrize(
    ("title", "rest", "says"),
    [
        ("Add tests for the parser", (), True),
        ("Improve test coverage of retries", ("CHANGELOG.md",), True),
        ("Cover the error paths", (), True),
        ("Test the parser", (), True),
        ("Regression test for #12", (), True),
        ("Adds unit tests for the parser", (), True),
        ("Added a testcase", (), True),
        ("Tests for the parser", (), True),
        ("Additional tests", (), True),
        ("Creates the parser", (), False),
        ("Add tests for the parser", ("src/parser.py",), False),
        ("Add retries and tests", (), False),
        ("Add retries", (), False),
        ("Fix the failing tests", (), False),
        ("Testing mode", (), False),
        ("New endpoint for users with tests", (), False),
        ("Complete the checkout with unit tests", (), False),
        ("Adds a login page, covered by some tests", (), False),
        ("Cover the parser with tests", (), True),
        ("Test the parser with coverage", (), True),
    ],
)
def test_a_task_that_asks_for_tests_has_nothing_else_to_prove(title: str, rest: tuple[str, ...], says: bool) -> None:
    assert pins(TASK.model_copy(update={"title": title}), rest) is says


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["tests/"], True),
        (["tests/**", "src/test_a.py"], True),
        (["test_*.py"], True),
        (["**"], False),
        (["src/", "tests/"], False),
        (["a.py"], False),
    ],
)
def test_tasks_about_tests_alone(paths: list[str], says: bool) -> None:
    assert only_tests(paths) is says


SPOT = Spot(path="a.py", line=3, what="`os` has no name `x`")
FOUND = Survey(
    formatting=(SPOT,),
    weakened=(Weakening(path="test_a.py", name="test_a", how="removed", gone=False),),
    symbols=(SPOT,),
    abstractions=(SPOT,),
)


def test_defaults_block_what_can_be_known_and_name_what_may_be_meant() -> None:
    found = {remark.rule: remark.blocking for remark in remarks(FOUND, TASK, ValidationSection())}
    assert found == {
        Rule.UNRELATED_HUNKS: True,
        Rule.WEAKENED_TESTS: True,
        Rule.INVENTED_SYMBOLS: False,
        Rule.NEEDLESS_ABSTRACTION: False,
    }


@pytest.mark.parametrize(
    ("title", "slight", "grave"),
    [
        ("Add retries", False, True),
        ("Add retries", True, False),
        ("Read a new file format", False, True),
        ("Update ruff", False, False),
        ("Reformat the parser", False, False),
    ],
)
def test_formatting_is_sent_back_where_nobody_asked_for_it(title: str, slight: bool, grave: bool) -> None:
    told = Survey(formatting=(SPOT.model_copy(update={"slight": slight}),))
    (found,) = remarks(told, TASK.model_copy(update={"title": title}), ValidationSection())
    assert (found.rule, found.blocking) == (Rule.UNRELATED_HUNKS, grave)


@pytest.mark.parametrize(
    ("words", "grave"),
    [
        ("Drop the legacy mode; delete test_a and what it needs.", False),
        ("Remove TestA, it tests what is gone.", False),
        ("Make test_a pass.", True),
        ("Remove the legacy mode.\nKeep test_a green.", True),
        ("Delete test_another.", True),
    ],
)
def test_a_test_may_go_where_the_task_says_so(words: str, grave: bool) -> None:
    told = Survey(weakened=(Weakening(path="tests/test_a.py", name="TestA::test_a", how="removed", gone=False),))
    (found,) = remarks(told, TASK.model_copy(update={"instructions": words}), ValidationSection())
    assert found.blocking is grave


def test_tests_may_go_where_they_are_the_task_or_their_subject_is_gone() -> None:
    mine = Task(id="a", title="A", paths=("tests/",))
    (weak,) = FOUND.weakened
    gone = FOUND.model_copy(update={"weakened": (weak.model_copy(update={"gone": True}),)})
    edited, elsewhere = (
        FOUND.model_copy(update={"weakened": (weak.model_copy(update={"how": how}),)})
        for how in ("edited", "skipped elsewhere")
    )
    for told, task in ((FOUND, mine), (gone, TASK), (edited, TASK), (elsewhere, TASK)):
        (found,) = [r for r in remarks(told, task, ValidationSection()) if r.rule is Rule.WEAKENED_TESTS]
        assert not found.blocking


@pytest.mark.parametrize(
    ("path", "grave"),
    [
        ("app/a.py", False),
        ("tests/test_a.py", True),
        ("sub/pytest.ini", True),
        ("tests", True),
        ("names", False),
        ("tests/data/a.png", False),
        ("tests/fixture.js", False),
    ],
)
def test_who_blinds_the_survey_gains_nothing(path: str, grave: bool) -> None:
    spot = Spot(path=path, line=0, what="not looked at")
    (found,) = remarks(Survey(unseen=(spot,)), TASK, ValidationSection())
    assert found.blocking is grave
    gone = Survey(unseen=(spot.model_copy(update={"slight": True}),))
    assert not blocking(remarks(gone, TASK, ValidationSection()))


def test_a_survey_that_failed_vouches_for_nothing() -> None:
    (found,) = remarks(Survey(failed="timeout", blind=True), TASK, ValidationSection())
    assert found.blocking
    assert "the survey failed (timeout). Change less at once" in found.problem
    (layout,) = remarks(Survey(failed="timeout"), TASK, ValidationSection())  # nothing but layout was at stake
    assert not layout.blocking


def test_a_survey_that_could_send_nothing_back_sends_nothing_back_by_failing() -> None:
    told = Survey(failed="timeout", blind=True)
    lenient = ValidationSection(new_tests="warn", weakened_tests="warn", unrelated_hunks="off")
    assert [remark.blocking for remark in remarks(told, TASK, lenient)] == [False]
    assert [remark.blocking for remark in remarks(told, TASK, ValidationSection(not_looked_at="warn"))] == [False]
    assert remarks(told, TASK, ValidationSection(not_looked_at="off")) == ()


def test_what_nobody_could_look_at_is_named() -> None:
    told = Survey(failed="exit 1", unseen=(Spot(path="a.py", line=0, what="this could not be looked at"),))
    found = remarks(told, TASK, ValidationSection())
    assert [(remark.rule, remark.path, remark.blocking) for remark in found] == [
        (Rule.NOT_LOOKED_AT, "", False),
        (Rule.NOT_LOOKED_AT, "a.py", False),
    ]
    assert "the survey failed (exit 1)" in found[0].problem
    unreadable = Survey(weakened=(Weakening(path="test_a.py", name="", how="unreadable", gone=False),))
    assert blocking(remarks(unreadable, TASK, ValidationSection()))


class Answers:
    """A sandbox in which every command ends like this."""

    def __init__(self, end: ExecResult) -> None:
        self._end = end

    def where(self, path: str) -> str:
        return path

    async def exec(self, *_: object, **__: object) -> ExecResult:
        return self._end


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (ExecResult(1, b"", b"RecursionError", 0.1), "exit 1"),
        (ExecResult(None, b"", b"", 60.0, ("timeout",)), "timeout"),
        (ExecResult(0, b"{not json", b"", 0.1), "exit 0"),
    ],
)
async def test_a_survey_that_fails_and_a_trial_that_cannot_be_made_are_named(end: ExecResult, says: str) -> None:
    change = Change(run="r", task="a", attempt="r.a.1", base="b" * 40, commit="c" * 40, tree="d" * 40)
    sandbox = cast("Sandbox", Answers(end))
    assert await survey(sandbox, change, []) == Survey(failed=says)
    edits = [FileChange(path, path, "M", "100644", "100644", 10) for path in ("README.md", "a.py")]
    assert await survey(sandbox, change, edits[:1]) == Survey(failed=says)
    assert await survey(sandbox, change, edits) == Survey(failed=says, blind=True)
    trial = narrowed("pytest -q", PYTEST, (NEW,))
    found = await tried(sandbox, change, [], [trial], ChecksSection())
    assert (UNTRIED in found) is (end.exit_code != 0)
    assert not blocking(tuple(r for r in found if r.rule is Rule.NOT_LOOKED_AT))
    assert (await fitted(sandbox, change, [], [trial], ChecksSection()) is None) is (end.exit_code != 0)
    suspects = [(trial, (NEW,))]
    assert not await passing_with_tests(sandbox, change, [], suspects, ChecksSection())


def test_what_does_not_come_out_the_same_twice_is_only_named() -> None:
    assert blocking((bent([NEW]),))
    assert not blocking((bent([NEW], sure=False),))


@pytest.mark.parametrize(("how", "grave"), [("deselects", True), ("narrows", False)])
def test_options_that_leave_out_tests_are_weaker_tests(how: str, grave: bool) -> None:
    told = Survey(weakened=(Weakening(path="pytest.ini", name="--deselect a.py::b", how=how, gone=False),))
    (found,) = remarks(told, TASK, ValidationSection())
    assert (found.rule, found.blocking) == (Rule.WEAKENED_TESTS, grave)
    assert "`--deselect a.py::b`" in found.problem


LEVELS = st.sampled_from(["off", "warn", "block"])


@given(LEVELS, st.booleans())
def test_a_level_decides_what_becomes_of_a_finding(level: Level, grave: bool) -> None:
    remark = Remark(rule=Rule.NEW_TESTS, problem="x" * 1000, blocking=grave)
    found = levelled((remark,), ValidationSection(new_tests=level))
    assert len(found) == (level != "off")
    assert bool(blocking(found)) == (grave and level == "block")
    assert all(len(item.problem) <= 300 for item in found)


def test_the_list_is_bounded_and_starts_with_what_blocks() -> None:
    mild, grave = (Remark(rule=Rule.INVENTED_SYMBOLS, problem=str(n), blocking=bool(n)) for n in (0, 1))
    text = listed([mild] * 30 + [grave]).splitlines()
    assert (text[0], text[-1], len(text)) == ("! [invented_symbols] 1", "- and 11 more", 21)


RED = """\
======================================================================
FAIL: test_old (test_a.TestA{0}) (n=1)
----------------------------------------------------------------------
AssertionError: 1 != 2

Ran 2 tests in 0.001s

FAILED (failures=1)
"""


@pytest.mark.parametrize(
    ("output", "failed"),
    [
        (RED.format(".test_old"), ["test_old"]),
        (RED.format(""), ["test_old"]),  # before Python 3.11
        (RED.format(".test_old").replace("test_a.TestA", "tests.test_a.TestA"), ["test_old"]),
        (RED.replace("test_old", "test_else").format(".test_else"), []),
        (RED.replace("test_a.", "test_b.").format(".test_old"), []),
        ("ERROR: test_a (unittest.loader._FailedTest.test_a)\nRan 1 test in 0.1s\n", ["test_old", "test_more"]),
        ("ERROR: setUpClass (test_a.TestA)\nRan 0 tests in 0.1s\n", ["test_old", "test_more"]),
        ("Killed", ["test_old", "test_more"]),
    ],
)
def test_unittest_names_what_failed(output: str, failed: list[str]) -> None:
    tests = tuple(
        TestName(path="tests/test_a.py", name=f"TestA::{name}", new=False) for name in ("test_old", "test_more")
    )
    (trial,) = trials(["python3 -m unittest tests.test_a"], tests)
    shown = judge(trial, 1, output)
    assert [test.name.partition("::")[2] for test in fits(tests, shown)] == failed
    left = [test for test in tests if test not in shown.failed]
    assert holding(trial, shown) == tuple(left if "Ran 2" in output else [])


def test_a_test_that_is_bent_beside_one_that_is_mended_is_found() -> None:
    tests = tuple(TestName(path="tests/test_a.py", name=name, new=False) for name in ("test_bent", "test_mended"))
    (trial,) = trials(["pytest -q"], tests)
    alone = "PASSED tests/test_a.py::test_bent\nFAILED tests/test_a.py::test_mended - x\n"
    base = "FAILED tests/test_a.py::test_bent - x\nFAILED tests/test_a.py::test_mended - x\n"
    assert fits(holding(trial, judge(trial, 1, alone)), judge(trial, 1, base)) == tests[:1]


def test_a_long_list_of_outcomes_takes_no_long_time() -> None:
    tests = tuple(TestName(path=f"tests/test_{n}.py", name=f"test_{n}", new=True) for n in range(200))
    (trial,) = trials(["pytest -q"], tests)
    output = "".join(f"PASSED tests/test_{n}.py::test_{n}\n" for n in range(50_000))
    begun = time.process_time()
    assert judge(trial, 0, output).passed == tests
    assert time.process_time() - begun < 1.0
