"""Whether new tests prove something: they must not pass without the rest of their change. Pure.

Rules
- A task that may change nothing but tests is exempt: there is no rest. So is one whose title asks for tests and nothing
  else, where the change brings no code.
- The verify command that runs the tests is run again on the base with the change's test files alone, narrowed to the
  tests that are new or edited. One of them that fails there is proof enough: others may pin what holds already, and
  are named. An error while they are collected is a failure, too.
- What is skipped or expected to fail neither fails nor passes: it proves nothing, whatever becomes of it.
- The change is sent back only where the runner is known, the tests could be singled out, they ran, and one of them is
  new: else it is named. Tests that were only edited may say the same as before, in other words.
- Behind a launcher that hides its runner no test can be told from another: what passes there is only named.
- A change of nothing but tests needs no run: what passed with it passed without the rest, which is empty.
- A test that failed as it was on the base, and passes there with the change's test files alone, was bent to fit:
  nothing was mended. That is asked of tests that were edited, and of all around which anything in their file was. Where
  it does not come out the same twice, it is only named.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from quarterdeck.delivery.validation.commands import covers, recognise, sole
from quarterdeck.delivery.validation.findings import Remark, Rule, TestName, only_tests
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
from quarterdeck.delivery.validation.survey.sources import found_by_name, is_test
from quarterdeck.kernel.entities import Task
from quarterdeck.workplace.history import FileChange

MOST: Final = 40
"""Tests that a command is narrowed to; beyond that all of its tests run."""
MANY: Final = 200
"""The same for unittest, which tells tests apart only by being told which to run."""

_SCRIPTS: Final = (".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs")
_SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    PYTEST.name: (".py",),
    UNITTEST.name: (".py",),
    GO.name: (".go",),
    CARGO.name: (".rs",),
    **{runner.name: _SCRIPTS for runner in (JAVASCRIPT, MOCHA, NODE, BUN)},
    ANY.name: ("",),
}
_RED: Final = re.compile(r"^(?:FAIL|ERROR): (\w+) \(([\w.]+)\)", re.MULTILINE)
_LINE: Final = re.compile(r"^(PASSED|FAILED|ERROR|XFAIL|XPASS|SKIPPED) ([^\s:]+)(?:::(\S+))?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Trial:
    """A verify command, narrowed to the tests of the change."""

    command: str
    runner: Runner
    tests: tuple[TestName, ...]
    exact: bool
    """It runs these tests and no others, or tells them apart."""
    env: Mapping[str, str] = field(default_factory=dict)


class Verdict(StrEnum):
    PROVEN = "proven"
    """A test failed without the change."""
    EMPTY = "empty"
    """None of them failed without it."""
    SILENT = "silent"
    """None of them ran."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a trial showed."""

    verdict: Verdict
    passed: tuple[TestName, ...] = ()
    """Tests that are known not to have failed."""
    held: tuple[TestName, ...] = field(default=(), compare=False)
    """Tests that ran and did not fail, as far as they can be told apart."""
    failed: tuple[TestName, ...] = field(default=(), compare=False)
    sure: bool = True
    """It was these tests that passed, and not others beside which they may not have run."""


def trials(commands: Sequence[str], tests: Sequence[TestName]) -> tuple[Trial, ...]:
    """The verify commands that may run these tests, each narrowed to them."""
    found = []
    for command in commands:
        runners, hidden = recognise(command)
        for runner in runners or ((PYTEST, ANY) if hidden else ()):
            own = tuple(test for test in tests if test.path.endswith(_SUFFIXES.get(runner.name, ())))
            if own:
                found.append(narrowed(command, runner, own))
                break
    return tuple(found)


def narrowed(command: str, runner: Runner, tests: tuple[TestName, ...]) -> Trial:
    """The command with its runner told to run `tests` only, where that can be said."""
    names = sorted({test.name.rpartition("::")[2] for test in tests})
    if runner is PYTEST:
        # Through the environment, because it reaches a runner behind any wrapper.
        chosen = shlex.quote(" or ".join(names)) if len(names) <= MOST else ""
        options = "-rA --color=no -p no:cacheprovider" + (f" -k {chosen}" if chosen else "")
        return Trial(command, runner, tests, exact=True, env={"PYTEST_ADDOPTS": options})
    if len(names) > (MANY if runner is UNITTEST else MOST) or not sole(command):
        return Trial(command, runner, tests, exact=False)
    pattern = "|".join(re.escape(name) for name in names)
    if runner is NODE:
        chosen = re.sub(
            r"(?<!\S)--test(?!\S)", lambda _: f"--test --test-name-pattern={shlex.quote(pattern)}", command, count=1
        )
        return Trial(chosen, runner, tests, exact=chosen != command)
    extra = {
        UNITTEST.name: " ".join(f"-k {shlex.quote(test.name.replace('::', '.'))}" for test in tests),
        GO.name: f"-run {shlex.quote(f'^({pattern})$')}",
        CARGO.name: " ".join(["--", *map(shlex.quote, names)]),
        JAVASCRIPT.name: f"-t {shlex.quote(pattern)}",
        BUN.name: f"-t {shlex.quote(pattern)}",
        MOCHA.name: f"-g {shlex.quote(pattern)}",
    }.get(runner.name)
    if extra is None or (runner is CARGO and " -- " in command):
        return Trial(command, runner, tests, exact=False)
    return Trial(f"{command.rstrip()} {extra}", runner, tests, exact=True)


def judge(trial: Trial, exit_code: int | None, output: str) -> Proof:
    """What the trial's run on the base with the tests alone showed. `output`: stdout and stderr."""
    if trial.runner is PYTEST and (said := _LINE.findall(output)):
        return _by_name(trial.tests, said, exit_code)
    if exit_code != 0 and exit_code != trial.runner.empty_exit:
        failed = _red(trial.tests, output) if trial.runner is UNITTEST else trial.tests
        whole = trial.runner is not UNITTEST or not trial.runner.executed(output)
        left = () if whole else tuple(test for test in trial.tests if test not in failed)
        return Proof(Verdict.PROVEN, failed=failed, held=left)
    # A launcher may keep the options from pytest, or start another runner.
    if not (ANY if trial.runner is PYTEST else trial.runner).executed(output):
        return Proof(Verdict.SILENT)
    return Proof(Verdict.EMPTY, sure=trial.exact and trial.runner is not PYTEST, held=trial.tests)


def _by_name(tests: Sequence[TestName], said: Sequence[tuple[str, str, str]], exit_code: int | None) -> Proof:
    places: dict[str, dict[str, set[str]]] = {}
    for outcome, path, name in said:
        places.setdefault(name.partition("[")[0], {}).setdefault(path, set()).add(outcome)
    ends = {test: _ends(test, places) for test in tests}
    failed = tuple(test for test in tests if ends[test] & {"FAILED", "ERROR"})
    held = tuple(test for test in tests if test not in failed and ends[test] & {"PASSED", "XPASS", "XFAIL"})
    if failed:
        plain = tuple(test for test in tests if "PASSED" in ends[test])
        return Proof(Verdict.PROVEN, plain, failed=failed, held=held)
    if not held and exit_code not in (0, 5):
        return Proof(Verdict.PROVEN, failed=tuple(tests))  # its support files do not even load without the change
    return Proof(Verdict.EMPTY if held else Verdict.SILENT, held, held=held)


def _ends(test: TestName, places: Mapping[str, Mapping[str, set[str]]]) -> set[str]:
    """How that test ended, by itself or with its whole file, each time it was said."""
    found: set[str] = set()
    for name in (test.name, ""):
        for path, outcomes in places.get(name, {}).items():
            if test.path.endswith(path) or path.endswith(test.path):
                found |= outcomes
    return found


def _red(tests: Sequence[TestName], output: str) -> tuple[TestName, ...]:
    """The tests that unittest names as failed; all of them where something else failed that they need."""
    found = set()
    for method, where in _RED.findall(output):
        parts = where.removesuffix(f".{method}").split(".")  # since Python 3.11 the place ends with the method
        if "_FailedTest" in parts or not method.startswith("test"):
            return tuple(tests)
        found.add((parts[-2] if len(parts) > 1 else "", f"{parts[-1]}::{method}"))
    named = tuple(test for test in tests if (PurePosixPath(test.path).stem, test.name) in found)
    return named if found else tuple(tests)


def holding(trial: Trial, shown: Proof) -> tuple[TestName, ...]:
    """The trial's tests that ran and did not fail."""
    return shown.held if shown.verdict is not Verdict.SILENT else ()


def fits(tests: Sequence[TestName], shown: Proof) -> tuple[TestName, ...]:
    """Those of the tests that failed."""
    return tuple(test for test in tests if test in shown.failed)


def verdict(proofs: Sequence[tuple[Trial, Proof]]) -> tuple[Remark, ...]:
    """What follows from the trials; those that block may be lowered by the rule's level."""
    best = next((proof for _, proof in proofs if proof.verdict is Verdict.PROVEN), None)
    if best is not None:
        return tuple(
            Remark(rule=Rule.NEW_TESTS, path=test.path, problem=f"`{test.name}` passes without the change, too")
            for test in best.passed
        )
    empty = [(trial, proof) for trial, proof in proofs if proof.verdict is Verdict.EMPTY]
    if not empty:
        return ()
    trial, proof = empty[0]
    return (vacuous(proof.passed or trial.tests, sure=proof.sure),)


def edited(commands: Sequence[str], tests: Sequence[TestName]) -> tuple[Trial, ...]:
    """The verify commands narrowed to those tests alone that were there before, where these can be singled out."""
    return tuple(trial for trial in trials(commands, [test for test in tests if not test.new]) if trial.exact)


def bent(tests: Sequence[TestName], *, sure: bool = True) -> Remark:
    """The finding that what these tests expect was changed to fit. `sure`: it came out the same twice."""
    names = ", ".join(f"{test.path}::{test.name}" for test in tests[:5])
    more = f" and {len(tests) - 5} more" if len(tests) > 5 else ""
    problem = (
        f"this failed before, and passes now without the rest of the change: {names}{more}."
        " What the test expects was changed to fit, or what stands around it. Take that back, and mend the code"
    )
    if not sure:
        problem = (
            f"this failed before, and passed without the rest of the change, but not a second time in fresh checkouts"
            f" of the base: {names}{more}. Look at what became of it"
        )
    return Remark(rule=Rule.WEAKENED_TESTS, path=tests[0].path, problem=problem, blocking=sure)


def vacuous(tests: Sequence[TestName], *, sure: bool) -> Remark:
    """The finding that these tests prove nothing."""
    names = ", ".join(f"{test.path}::{test.name}" for test in tests[:5])
    more = f" and {len(tests) - 5} more" if len(tests) > 5 else ""
    problem = f"the checks pass with the new tests alone: do they prove the rest of the change? {names}{more}"
    if sure:
        problem = (
            f"the new tests do not fail without the rest of the change, so they prove nothing: {names}{more}."
            " Write a test that fails without the change"
        )
    return Remark(
        rule=Rule.NEW_TESTS, path=tests[0].path, problem=problem, blocking=sure and any(test.new for test in tests)
    )


def idle(tests: Sequence[TestName]) -> tuple[Remark, ...]:
    """The new tests that are skipped or expected to fail. They block where the change brings no others at all."""
    silent = [test for test in tests if test.new and not test.counts]
    grave = len(silent) == len(tests) and all(test.silence is Silence.ALWAYS for test in silent)
    what = "the new test `{}` is skipped or expected to fail, so it proves nothing"
    return tuple(
        Remark(rule=Rule.NEW_TESTS, path=test.path, problem=what.format(test.name), blocking=grave) for test in silent
    )


def unrun(commands: Sequence[str], tests: Sequence[TestName]) -> tuple[Remark, ...]:
    """The new tests that no verify command runs, where each command is sure to run others alone."""
    what = "the new test `{}` is run by no verify command"
    return tuple(
        Remark(rule=Rule.NEW_TESTS, path=test.path, problem=what.format(test.name))
        for test in tests
        if commands and test.new and test.path.endswith(".py") and not any(covers(each, test.path) for each in commands)
    )


def unwatched(commands: Sequence[str], task: Task, changes: Sequence[FileChange]) -> tuple[Remark, ...]:
    """The test files that moved to where none of these commands, of the gate and of the task, runs them any more."""
    moved = [
        each for each in changes if each.status == "R" and each.path.endswith(".py") and found_by_name(each.old_path)
    ]
    what = "the tests of `{}` moved here, where no check runs them: let them lie where they are run"
    return tuple(
        Remark(
            rule=Rule.WEAKENED_TESTS,
            path=each.path,
            problem=what.format(each.old_path),
            blocking=not only_tests(task.paths),
        )
        for each in moved
        if any(covers(command, each.old_path) for command in commands)
        and not any(covers(command, each.path) for command in commands)
    )


def rest(files: Sequence[str]) -> tuple[str, ...]:
    """Those of the changed files that are no tests: what is taken away for the trial."""
    return tuple(path for path in files if not is_test(path))
