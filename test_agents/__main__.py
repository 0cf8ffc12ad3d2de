"""Drives the real command lines: `python -m test_agents [NAME ...] [--scenes a,b] [--keep] [--jobs N]`.

One line a command line: its name, its version, passed or failed, and why. Exit 1 if any failed, also where it could not
be installed or started.

Rules
- Every command line gets the same scenes. One that fails a scene plays the others; what needs the failed one fails too.
- Everything is bounded: each command of a scene, and the whole.
- The homes of failed command lines are kept; the others are removed.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from quarterdeck.agents.profiles import PROFILES
from quarterdeck.agents.profiles.installed import look
from test_agents import scenes
from test_agents.install import Installed, InstallFailed, install
from test_agents.job import SECRET
from test_agents.stage import Failed, Server, Stage

_WHOLE: Final = 820.0
"""Seconds; with what has to be installed it is below fifteen minutes."""
_MIXED: Final = "mixed"
_SLOWEST: Final = "opencode"
"""Its start costs as much as all the rest of its work."""


@dataclass(slots=True)
class Verdict:
    """How one command line did."""

    name: str
    version: str
    seconds: float = 0.0
    passed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def line(self) -> str:
        head = f"{self.name:12} {self.version:10}"
        if not self.failed:
            return f"{head} passed  {', '.join(self.passed)}  ({self.seconds:.0f} s)"
        return f"{head} FAILED  {'; '.join(self.failed)}  (passed: {', '.join(self.passed) or 'nothing'})"


async def play(stage: Stage, wanted: dict[str, scenes.Scene], verdict: Verdict, until: float) -> Verdict:
    """Play the scenes one after the other. `until`: the loop's time at which all has to be over."""
    began = time.monotonic()
    for name, scene in wanted.items():
        at = time.monotonic()
        try:
            async with asyncio.timeout_at(until):
                await scene(stage)
                await stage.nothing_left()
            verdict.passed.append(name)
        except Failed as error:
            verdict.failed[name] = str(error)
        except TimeoutError:
            verdict.failed[name] = "no time was left"
        except Exception as error:  # noqa: BLE001 - told in the line; the other scenes are still played
            verdict.failed[name] = f"{type(error).__name__}: {error}"
        finally:
            await stage.close()
        said = "ok" if name in verdict.passed else verdict.failed[name]
        print(f"  {verdict.name} {name}: {said} ({time.monotonic() - at:.1f} s)", file=sys.stderr, flush=True)
    leaked = secrets(stage.home)
    if leaked:
        verdict.failed["secrets"] = f"the planted key is in {', '.join(leaked[:3])}"
    verdict.seconds = time.monotonic() - began
    return verdict


def secrets(home: Path) -> list[str]:
    """Files of the home that hold the planted key."""
    files = [file for file in home.rglob("*") if file.is_file() and not file.is_symlink()]
    return [str(file.relative_to(home)) for file in files if SECRET.encode() in file.read_bytes()]


async def drive(
    names: Sequence[str], chosen: Sequence[str], stages: list[Stage], installed: Installed, folder: Path, jobs: int
) -> list[Verdict]:
    """All command lines, so many at once. What was made for each is added to `stages`."""
    slots = asyncio.Semaphore(jobs)
    until = asyncio.get_running_loop().time() + _WHOLE
    async with Server() as server:

        async def one(name: str) -> Verdict:
            async with slots:
                stage = Stage(server, name, folder / name, installed.path)
                stages.append(stage)
                stage.folder.mkdir()
                if name == _MIXED:
                    return await play(stage, {_MIXED: scenes.mixed}, Verdict("mixed run", ""), until)
                found = look(PROFILES[name], installed.path)
                title = PROFILES[name].title
                if found.installation is None:
                    return Verdict(title, "", failed={"start": found.missing})
                wanted = scenes.wanted(chosen)
                return await play(stage, wanted, Verdict(title, found.installation.version), until)

        # The one that takes longest begins first; told is in the order that was asked for.
        playing = {name: asyncio.create_task(one(name)) for name in sorted(names, key=lambda name: name != _SLOWEST)}
        return [await playing[name] for name in names]


def main(argv: Sequence[str] | None = None) -> int:
    """Install, play, tell."""
    parser = argparse.ArgumentParser(prog="test_agents", description="Drives the real command lines of agents.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join([*PROFILES, _MIXED])} (default: all)")
    parser.add_argument("--scenes", default="", help=f"of {','.join(scenes.SCENES)} (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="command lines at the same time")
    parser.add_argument("--keep", action="store_true", help="keep the homes and repositories")
    options = parser.parse_args(argv)
    names = options.names or [*PROFILES, _MIXED]
    if unknown := [name for name in names if name not in PROFILES and name != _MIXED]:
        parser.error(f"there is no {unknown[0]}")
    try:
        installed = install()
    except InstallFailed as error:
        for name in names:
            print(f"{name:12} {'':10} FAILED  it could not be installed")
        print(error, file=sys.stderr)
        return 1
    if installed.seconds:
        print(f"  installed in {installed.seconds:.0f} s", file=sys.stderr, flush=True)
    folder = Path(tempfile.mkdtemp(prefix="quarterdeck-agents-"))
    folder.chmod(0o711)  # agents run as a user of their own, and look for their workspaces below it
    stages: list[Stage] = []
    chosen = [name for name in options.scenes.split(",") if name]
    verdicts = asyncio.run(drive(names, chosen, stages, installed, folder, options.jobs))
    for verdict in verdicts:
        print(verdict.line())
    bad = any(verdict.failed for verdict in verdicts)
    if options.keep or bad:
        print(f"  kept: {folder}", file=sys.stderr)
        return 1 if bad else 0
    for stage in stages:
        stage.remove()
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
