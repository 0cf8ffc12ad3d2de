"""New tests have to prove something, tests that are there stay, and what validation finds is named or sent back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deck_kit import REVIEWER, Place, carried, events, git, one, place_at, task

from quarterdeck.assembly import Deck
from quarterdeck.delivery.nodes import check
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.workplace.ground import Ground

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.embedded("what is judged is the change; test_delivery has runs on both"),
]

LINES = 12
MODULE = "def add(a, b):\n    return a + b\n" + "\n".join(f"VALUE_{n} = [{n}, {n}]" for n in range(LINES)) + "\n"
TESTS = """\
import unittest
import {0}


class TestIt(unittest.TestCase):
    def test_add(self):
        self.assertEqual({0}.add(1, 2), 3)
        self.assertEqual({0}.add(0, 0), 0)

    def test_value(self):
        self.assertEqual({0}.VALUE_1, [1, 1])
"""
SUB = "\\n\\ndef sub(a, b):\\n    return a - b\\n"
ECHO = "import json,sys; print(json.dumps({'verdict': 'accept', 'summary': json.load(sys.stdin)['evidence']}))"
ONCE = "[limits]\nattempts = 1\n"

WARNED = ("removes", "formats", "invents", "wraps")


def files(*names: str) -> dict[str, str]:
    """For each name a module and its tests."""
    made = {f"{name}.py": MODULE for name in names}
    return made | {f"test_{name}.py": TESTS.format(name) for name in names}


def work(name: str, script: str, **fields: Any) -> dict[str, Any]:
    """A task on the module `name`."""
    plain = {"paths": [f"{name}.py", f"test_{name}*.py"], "verify": [f"python3 -m unittest -q test_{name}"]}
    return task(name, script.replace("NAME", name), **{**plain, **fields})


def adds(asserts: str, *, sub: bool = True) -> str:
    """A script that adds a function, and one test with this assertion."""
    code = f'printf "{SUB}" >> NAME.py; ' if sub else ""
    return f'{code}printf "\\n    def test_new(self):\\n        {asserts}\\n" >> test_NAME.py'


PROVES = adds("self.assertEqual(NAME.sub(2, 2), 0)")
EMPTY = adds("self.assertEqual(NAME.add(2, 2), 4)")
ODD = "python3 -c \"print('def test_odd():\\n    x = ' + '+'.join('1' * 1500))\" > test_NAME_odd.py"
"""A test file that is too deep to be looked at."""
CHANGES = {
    "vacuous": EMPTY,
    "untested": adds("self.assertEqual(NAME.add(2, 2), 4)", sub=False),
    "removes": f'{PROVES}; sed -i "/def test_value/,+1d" test_NAME.py',
    "hides": f'{PROVES}; sed -i "/def test_value/,+1d" test_NAME.py; {ODD}',
    "recodes": f"{PROVES}; cp test_NAME.py ours.py; printf '#\\351\\n' >> test_NAME.py; mv ours.py test_NAME_ran.py",
    "skips": f"{PROVES}; sed -i 's/    def test_add/    @unittest.skip(\"later\")\\n&/' test_NAME.py",
    "weakens": f'{PROVES}; sed -i "/add(0, 0)/d" test_NAME.py',
    "formats": f'{PROVES}; sed -i "s/VALUE_3 = .3, 3./VALUE_3 = [ 3,3 ]/" NAME.py',
    "invents": f'{PROVES}; sed -i "1i import os\\ndef where():\\n    return os.getcwdd()" NAME.py',
    "wraps": f'{PROVES}; printf "\\n\\ndef minus(a, b):\\n    return sub(a, b)\\n" >> NAME.py',
}
SAYS = {
    "vacuous": "so they prove nothing: test_vacuous.py::TestIt::test_new",
    "untested": "so they prove nothing: test_untested.py::TestIt::test_new",
    "removes": "test_removes.py: the existing test `TestIt::test_value` was removed",
    "hides": "test_hides.py: the existing test `TestIt::test_value` was removed",
    "recodes": "test_recodes.py: this file holds tests that could be read before, and now it cannot be",
    "skips": "test_skips.py: the existing test `TestIt::test_add` is skipped now",
    "weakens": "test_weakens.py: the existing test `TestIt::test_add` holds fewer assertions than before",
    "formats": "formats.py:6: this only formats",
    "invents": "invents.py:3: `os` has no name `getcwdd`",
    "wraps": "wraps.py:21: `minus` only forwards its arguments to `sub`",
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


async def inspected(deck: Deck, attempt: str) -> e.ChangeInspected:
    (found,) = [x for x in await events(deck, ids.attempt_stream(attempt)) if isinstance(x, e.ChangeInspected)]
    return found


async def test_a_new_test_that_passes_without_the_change_is_sent_back(place: Place) -> None:
    place.begin(files("calc"))
    script = f'if [ "$ATTEMPT" = 1 ]; then {EMPTY}; else {PROVES}; printf "# $FEEDBACK" > test_calc_told.py; fi'
    async with carried(place, work("calc", script)) as (deck, result):
        assert (result.status, one(result, "calc").attempts) == (RunStatus.DONE, 2), result
        assert "calc.sub(2, 2)" in place.tree(result)["test_calc.py"]
        assert "Write a test that fails without the change" in place.tree(result)["test_calc_told.py"]
        found = await inspected(deck, f"{result.run}.calc.1")
        assert (found.blocking, found.warnings) == (1, 0)
        assert SAYS["vacuous"].replace("vacuous", "calc") in found.first
        assert "prove nothing" in await deck.report(result.run)


async def test_what_validation_finds_is_sent_back(place: Place) -> None:
    levels = '[validation]\ninvented_symbols = "block"\nneedless_abstraction = "block"\n'
    place.begin(files(*CHANGES, "empty"), deck=ONCE + levels)
    tasks = [work(name, script) for name, script in CHANGES.items()]
    nothing = work("empty", PROVES, verify=["python3 -m unittest -q -k nothing_is_called_so test_empty"])
    async with carried(place, *tasks, nothing) as (_, result):
        assert {item.status for item in result.tasks} == {TaskStatus.FAILED}
        for name, says in SAYS.items():
            assert says in one(result, name).reason, name
        assert "unittest executed no test" in one(result, "empty").reason
        assert git(place.repository, "branch", "--list", result.target.branch) == ""


async def test_a_new_test_that_hangs_without_the_change_has_failed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "PATIENCE", 3.0)
    place.begin(files("calc") | {"calc.py": f"{MODULE}READY = False\n"}, deck=ONCE)
    waits = 'printf "\n    def test_ready(self):\n        while not calc.READY: pass\n" >> test_calc.py'
    task_ = work("calc", f"sed -i s/False/True/ calc.py; {waits}")
    async with carried(place, task_) as (deck, result):
        assert one(result, "calc").status is TaskStatus.MERGED, result
        assert not [
            x
            for x in await events(deck, ids.attempt_stream(f"{result.run}.calc.1"))
            if isinstance(x, e.ChangeInspected)
        ]


async def test_what_only_warns_is_named_to_the_reviewer_and_in_the_report(place: Place) -> None:
    keys = ("new_tests", "weakened_tests", "unrelated_hunks")
    levels = "[validation]\n" + "".join(f'{key} = "warn"\n' for key in keys)
    critic = REVIEWER.format(code=json.dumps(ECHO))
    place.begin(
        {**files(*WARNED), ".quarterdeck/agents/critic.md": critic}, deck=f'[review]\nagent = "critic"\n{levels}'
    )
    async with carried(place, *(work(name, CHANGES[name]) for name in WARNED)) as (deck, result):
        assert {item.status for item in result.tasks} == {TaskStatus.MERGED}, result.tasks
        report = await deck.report(result.run)
        for name in WARNED:
            says = SAYS[name]
            assert f"to look at: {says}" in report, name
            (end,) = [
                x
                for x in await events(deck, ids.attempt_stream(f"{result.run}.{name}.1.review1"))
                if isinstance(x, e.NodeFinished)
            ]
            assert end.result_blob is not None
            assert says in (await deck.journal.get(end.result_blob)).decode(), name


async def test_what_may_be_so_is_left_alone(place: Place) -> None:
    place.begin(files("tests", "style", "gone", "fine", "off"), deck=ONCE)
    tasks = (
        work("tests", adds("self.assertEqual(NAME.add(2, 2), 4)", sub=False), paths=["test_tests.py"]),
        work("style", 'sed -i "s/VALUE_3 = .3, 3./VALUE_3 = [ 3,3 ]/" NAME.py'),
        work("gone", 'sed -i "1,2d" NAME.py; sed -i "/def test_add/,+3d" test_NAME.py'),
        work(
            "fine", f'{PROVES}; printf "\\n    def test_more(self):\\n        self.assertTrue(NAME)\\n" >> test_NAME.py'
        ),
    )
    async with carried(place, *tasks) as (deck, result):
        assert {item.status for item in result.tasks} == {TaskStatus.MERGED}, result
        report = await deck.report(result.run)
        assert "the existing test `TestIt::test_add` was removed" in report


async def test_a_flaky_verify_command_is_found_and_named(place: Place) -> None:
    # Outside of every workspace, so that it can fail the first time alone: hence no sandbox.
    scratch = Ground(place.home).prepare().root / "scratch"
    scratch.mkdir()
    scratch.chmod(0o777)
    place.begin(deck=ONCE)
    flaky = task("a", "echo a > a.txt", verify=["true", f"! mkdir {scratch}/seen"])
    steady = task("b", "echo b > b.txt", verify=["grep a b.txt"])
    async with carried(place, flaky, steady, sandbox="none") as (deck, result):
        assert (one(result, "a").status, one(result, "a").attempts) == (TaskStatus.MERGED, 1)
        assert one(result, "b").status is TaskStatus.FAILED
        record = await events(deck, ids.attempt_stream(f"{result.run}.a.1"))
        (seen,) = [x for x in record if isinstance(x, e.FlakeSeen)]
        assert seen.reason == f"`! mkdir {scratch}/seen` failed: exit 1"
        assert [x.passed for x in record if isinstance(x, e.CheckRan)] == [True]
        report, _, retrospective = (await deck.report(result.run)).partition("# Retrospective")
        said = f"{seen.reason}: it failed and then passed on the same tree"
        assert said in report.partition("## Flaky checks")[2]
        assert f"flaky: {said}" in retrospective
        assert not [
            x for x in await events(deck, ids.attempt_stream(f"{result.run}.b.1")) if isinstance(x, e.FlakeSeen)
        ]
