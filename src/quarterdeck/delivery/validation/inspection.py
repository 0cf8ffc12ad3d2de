"""Looks at a change in sandboxes: the survey of its files, and the trial of its new tests.

Rules
- The survey runs in the fresh checkout of the change, before anything of the change has run there, by the newest Python
  of the machine: an older one does not know what is written in newer ones.
- The trial has a checkout of its own: the base, with the change's test files.
- One red run accuses nobody. A test is only said to be bent where it failed in that trial, fails again in a fresh
  checkout of the base with the environment of the base, and passes in another one with the change's test files put in:
  neither what a run leaves behind nor what else the change brings has a part in it then.
- An inspection that cannot be made is named and logged. A survey that failed vouches for nothing: what that means is
  decided by `findings`. A trial that cannot be made sends nothing back: the checks and the gate stand without it.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from importlib import resources
from typing import Final

from pydantic import ValidationError

from quarterdeck.delivery.validation import proof
from quarterdeck.delivery.validation.checks import bounded
from quarterdeck.delivery.validation.findings import Remark, Rule, Survey, TestName, only_tests
from quarterdeck.delivery.validation.survey.options import FILES, looked_into
from quarterdeck.delivery.validation.survey.sources import MAX_BYTES, is_test
from quarterdeck.kernel.config import ChecksSection, ValidationSection
from quarterdeck.kernel.entities import Change, Task
from quarterdeck.workplace.history import FileChange
from quarterdeck.workplace.port import Sandbox
from quarterdeck.workplace.profile import PROGRAM

_log = logging.getLogger(__name__)

SECONDS: Final = 60.0
CODE: Final = (".py", ".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".go", ".rs")
UNTRIED: Final = Remark(
    rule=Rule.NOT_LOOKED_AT,
    problem="the base could not be restored, so that the tests were not tried without the change",
)
ANSWER: Final = 1024 * 1024
OUTPUT: Final = 512 * 1024
Suspects = Sequence[tuple[proof.Trial, tuple[TestName, ...]]]
"""Tests that seem to be bent, by the trial that ran them."""
_PACKAGE: Final = "quarterdeck.delivery.validation.survey"
_START: Final = """
import sys
sys.path.insert(0, sys.argv[1])
from quarterdeck.delivery.validation.survey.report import main
del sys.path[0]
main()
"""
NEWEST: Final = """\
for python in python3.14 python3.13 python3.12 python3.11; do
  if "$python" -I -c 'import ast' 2>/dev/null; then exec "$python" "$@"; fi
done
exec python3 "$@"
"""
"""Runs the newest Python that is there."""
_TAKE_AWAY: Final = """
import json, pathlib, subprocess, sys
given = json.load(sys.stdin)
for name in given["away"]:
    pathlib.Path(name).unlink(missing_ok=True)
if given["back"]:
    command = ["git", "--literal-pathspecs", "checkout", "-q", given["base"], "--pathspec-from-file=-"]
    names = "\\0".join(given["back"]).encode("utf-8", "surrogateescape")
    subprocess.run([*command, "--pathspec-file-nul"], input=names, check=True)
"""


def programs() -> dict[str, bytes]:
    """The survey's files, for sandboxes that it is to run in (`Ground.programs`)."""
    names = _PACKAGE.split(".")
    folders = ["/".join(names[:depth]) for depth in range(2, len(names))]
    modules = [file for file in resources.files(_PACKAGE).iterdir() if file.name.endswith(".py")]
    shipped = {
        f"{'/'.join(names)}/{file.name}": file.read_bytes() for file in sorted(modules, key=lambda file: file.name)
    }
    return {**{f"{folder}/__init__.py": b"" for folder in folders}, **shipped}


def worth_a_look(changes: Sequence[FileChange], levels: ValidationSection) -> bool:
    """Whether the survey could say anything about these changes."""
    wanted = set(levels.model_dump().values()) != {"off"}
    return wanted and any(looked_into(change.path) or change.status in "MRD" for change in _plain(changes))


async def survey(sandbox: Sandbox, change: Change, changes: Sequence[FileChange]) -> Survey:
    """What there is to say about the change that is checked out in this sandbox. Raises SandboxFailed."""
    files = [(item.path, item.old_path or item.path, item.status) for item in _plain(changes)]
    command = ("sh", "-c", NEWEST, "sh", "-I", "-c", _START, sandbox.where(PROGRAM))
    request = json.dumps({"base": change.base, "files": files}).encode()
    done = await sandbox.exec(command, stdin=request, timeout=SECONDS, output_limit=ANSWER, ours=True)
    try:
        return Survey.model_validate_json(done.stdout)
    except ValidationError:
        said = bounded(done.stderr.decode("utf-8", "replace"), 2000)
        _log.warning("the survey of %s failed (exit %s): %s", change.attempt, done.exit_code, said)
        blind = any(looked_into(path) for change in _plain(changes) for path in (change.path, change.old_path) if path)
        return Survey(failed=(", ".join(done.flags) or f"exit {done.exit_code}")[:200], blind=blind)


def wanted_trials(task: Task, found: Survey, levels: ValidationSection) -> tuple[proof.Trial, ...]:
    """What has to be run to see whether the new tests prove something."""
    if levels.new_tests == "off" or not found.tests or only_tests(task.paths):
        return ()
    return proof.trials(task.verify, [test for test in found.tests if test.counts])


def wanted_fits(task: Task, found: Survey, levels: ValidationSection) -> tuple[proof.Trial, ...]:
    """What has to be run to see whether tests that were there were changed to fit, by what they say or around them."""
    if levels.weakened_tests == "off" or only_tests(task.paths):
        return ()
    return proof.edited(task.verify, [test for test in dict.fromkeys((*found.tests, *found.around)) if test.counts])


def idle_tests(task: Task, found: Survey, levels: ValidationSection) -> tuple[Remark, ...]:
    """The new tests that cannot prove anything, where they should."""
    return () if levels.new_tests == "off" or only_tests(task.paths) else proof.idle(found.tests)


async def tried(
    sandbox: Sandbox,
    change: Change,
    changes: Sequence[FileChange],
    trials: Sequence[proof.Trial],
    checks: ChecksSection,
) -> tuple[Remark, ...]:
    """Run the trials in this fresh checkout of the change, without the rest of it. Raises SandboxFailed."""
    if not await _taken_back(sandbox, change, changes, proof.rest):
        return (UNTRIED,)
    proofs = []
    for trial in trials:
        proofs.append((trial, await _tried(sandbox, trial, checks)))
        if proofs[-1][1].verdict is proof.Verdict.PROVEN:
            break
    return proof.verdict(proofs)


async def fitted(
    sandbox: Sandbox,
    change: Change,
    changes: Sequence[FileChange],
    trials: Sequence[proof.Trial],
    checks: ChecksSection,
) -> Suspects | None:
    """Which of these tests may have failed before, and pass now without the rest of the change; None = that could not
    be tried. Raises SandboxFailed.

    In a checkout of the change, fresh or as `tried` leaves it.
    """
    if not trials:
        return ()
    if not await _taken_back(sandbox, change, changes, proof.rest):
        return None
    now = [(trial, await _tried(sandbox, trial, checks)) for trial in trials]
    passing = [(trial, proof.holding(trial, shown)) for trial, shown in now]
    if not any(tests for _, tests in passing):
        return ()
    if not await _taken_back(sandbox, change, changes, tuple):
        return None
    return await failing(sandbox, passing, checks)


async def failing(sandbox: Sandbox, suspects: Suspects, checks: ChecksSection) -> Suspects:
    """Those of the tests that fail in this checkout. Raises SandboxFailed."""
    found = [(trial, proof.fits(tests, await _tried(sandbox, trial, checks))) for trial, tests in suspects if tests]
    return tuple((trial, tests) for trial, tests in found if tests)


async def passing_with_tests(
    sandbox: Sandbox, change: Change, changes: Sequence[FileChange], suspects: Suspects, checks: ChecksSection
) -> Suspects:
    """Those of the tests that pass in this fresh checkout of the base once it has the change's test files. Raises
    SandboxFailed."""
    put = filter(is_test, [c.path for c in changes if c.status != "D"])
    away = filter(is_test, [c.old_path if c.status == "R" else c.path for c in changes if c.status in "DR"])
    if not await _restored(sandbox, change, change.commit, set(put), set(away)):
        return ()
    found = [(trial, tests, await _tried(sandbox, trial, checks)) for trial, tests in suspects]
    held = [(trial, tuple(t for t in tests if t in proof.holding(trial, shown))) for trial, tests, shown in found]
    return tuple((trial, tests) for trial, tests in held if tests)


async def _taken_back(
    sandbox: Sandbox,
    change: Change,
    changes: Sequence[FileChange],
    chosen: Callable[[Sequence[str]], tuple[str, ...]],
) -> bool:
    """Put those of the changed files that are chosen back to how they are at the base; False = that failed."""
    back = {c.old_path if c.status == "R" else c.path for c in changes if c.status not in "AC"}
    away = {c.path for c in changes if c.status in "ARC"}
    return await _restored(sandbox, change, change.base, chosen(tuple(back)), chosen(tuple(away)))


async def _restored(
    sandbox: Sandbox, change: Change, commit: str, back: Collection[str], away: Collection[str]
) -> bool:
    """Give these files what they hold in a commit, and take those away; False = that failed."""
    given = {"base": commit, "back": sorted(back), "away": sorted(away)}
    command = ("python3", "-I", "-c", _TAKE_AWAY)
    done = await sandbox.exec(command, stdin=json.dumps(given).encode(), timeout=SECONDS, ours=True)
    if done.exit_code != 0:
        said = bounded(done.stderr.decode("utf-8", "replace"), 2000)
        _log.warning("the files for the trial of %s could not be restored: %s", change.attempt, said)
    return done.exit_code == 0


async def _tried(sandbox: Sandbox, trial: proof.Trial, checks: ChecksSection) -> proof.Proof:
    ran = await sandbox.exec(trial.command, env=trial.env, timeout=checks.timeout, output_limit=OUTPUT)
    text = (ran.stdout + b"\n" + ran.stderr).decode("utf-8", "replace")
    return await asyncio.to_thread(proof.judge, trial, ran.exit_code, text)


def _plain(changes: Sequence[FileChange]) -> list[FileChange]:
    """The changes of plain files. One that became a link has gone, and one that a link became has come."""
    found = []
    for change in changes:
        was, now = change.old_mode.startswith("100"), change.new_mode.startswith("100")
        if was and not now:
            found.append(replace(change, status="D"))
        elif now:
            found.append(change if was else replace(change, status="A"))
    # Code and configuration that are too large are named by the survey; anything else may be as large as it likes.
    return [each for each in found if each.size <= MAX_BYTES or _named(each.path) or _named(each.old_path)]


def _named(path: str) -> bool:
    return path.endswith(CODE) or FILES.search(path) is not None
