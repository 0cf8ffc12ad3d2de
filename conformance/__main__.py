"""Runs the scenarios that apply: `python -m conformance [server|client] [SCENARIO ...]`; one line for each.

Rules
- The verdict is made from the tool's own list of checks, not from its exit code: a scenario passes where at least one
  check succeeded and none failed but the excused, and where an excused one still fails.
- Exit 0 = all that apply passed; 1 = one did not, or the tool knows scenarios of which nothing is said.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from conformance.install import InstallFailed, install
from conformance.scenarios import APPLY, Scenario, Side, unknown

_SECONDS: Final = 90.0
_LISTED: Final = re.compile(r"^\s+- (\S+)", re.MULTILINE)
CLIENT: Final = f"{sys.executable} -m conformance.client"
"""Started by the tool with the address of its server as the last argument."""


@contextmanager
def server() -> Iterator[str]:
    """Our server as a process of its own; its address."""
    command = (sys.executable, "-m", "conformance.server")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()


def listed(tool: Sequence[str], side: Side) -> list[str]:
    """The scenarios that the tool has."""
    done = subprocess.run([*tool, "list", f"--{side}"], capture_output=True, text=True, timeout=_SECONDS, check=True)
    return _LISTED.findall(done.stdout)


def checks(
    tool: Sequence[str], side: Side, scenario: str, revision: str, target: Sequence[str]
) -> list[dict[str, Any]]:
    """What the tool found."""
    with tempfile.TemporaryDirectory() as directory:
        chosen = ("--scenario", scenario, "--spec-version", revision, "-o", directory)
        try:
            subprocess.run([*tool, side, *target, *chosen], capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return [{"id": "(the tool)", "status": "FAILURE", "errorMessage": f"did not end in {_SECONDS:.0f} s"}]
        found: list[dict[str, Any]] = []
        for file in Path(directory).rglob("checks.json"):
            found += json.loads(file.read_text())
        return found


def verdict(scenario: Scenario, found: Sequence[dict[str, Any]]) -> tuple[int, list[str]]:
    """(checks that succeeded, what is wrong). Pure."""
    passed = [check["id"] for check in found if check["status"] == "SUCCESS"]
    wrong = [
        f"{check['id']}: {check.get('errorMessage', check['status'])}"
        for check in found
        if check["status"] == "FAILURE" and check["id"] not in scenario.excused
    ]
    failed = {check["id"] for check in found if check["status"] == "FAILURE"}
    wrong += [f"{check}: is excused and does not fail" for check in scenario.excused if check not in failed]
    if not passed:
        wrong.append("no check succeeded")
    return len(passed), wrong


def run(side: Side, only: Sequence[str]) -> bool:
    """All scenarios of one side, or those named; whether they passed."""
    tool = install()
    strange = unknown(side, listed(tool, side))
    for name in strange:
        print(f"FAIL  {side}  {name}: conformance/scenarios.py and the tool do not agree about it")
    good = not strange
    if not APPLY[side]:
        return good
    with server() as address:
        target = ("--url", address) if side == "server" else ("--command", CLIENT)
        for scenario in APPLY[side]:
            for revision in scenario.revisions if not only or scenario.name in only else ():
                passed, wrong = verdict(scenario, checks(tool, side, scenario.name, revision, target))
                good = good and not wrong
                excused = f", {len(scenario.excused)} excused" if scenario.excused else ""
                print(f"{'FAIL' if wrong else 'pass'}  {side}  {revision}  {scenario.name}  {passed} checks{excused}")
                for problem in wrong:
                    print(f"      {problem}"[:500])
                sys.stdout.flush()
    return good


def main(arguments: Sequence[str]) -> int:
    """0 = passed."""
    sides: tuple[Side, ...] = ("server", "client")
    chosen = [side for side in sides if side in arguments] or sides
    try:
        passed = [run(side, [name for name in arguments if name not in sides]) for side in chosen]
        return 0 if all(passed) else 1
    except InstallFailed as error:
        print(f"FAIL  the tool cannot be installed: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
