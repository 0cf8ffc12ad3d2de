"""Merges the texts of files in the ways beyond git's own: in a process with a deadline, or by an external driver.

Rules
- Nothing here runs on the event loop or in its process: what is merged was written by agents.
- A way that takes too long, too much memory or that breaks is lost, with that as the reason.
- The external driver works on copies in a folder of its own, outside of any repository, with an environment that holds
  nothing of ours. What it gives back is a text like any other: checked for marks of conflicts and objected to.
"""

import json
import os
import posixpath
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import GitFailed
from quarterdeck.merge.values import Sides, Way
from quarterdeck.workplace.git import Completed, run_program
from quarterdeck.workplace.merging_trees import MOST_BYTES, FileSides, as_text

DRIVER: Final = "mergiraf"
SECONDS: Final = 30.0
"""For all files of one way."""
MEMORY_BYTES: Final = 2 * 1024**3
"""Address space of the process."""
_OUTPUT: Final = 64 * 1024 * 1024
_DRIVER_OUTPUT: Final = 2 * MOST_BYTES
_MARKS: Final = ("<<<<<<<", ">>>>>>>")


@dataclass(frozen=True, slots=True)
class Texts:
    """What a way made of the files."""

    by_path: Mapping[str, str]
    notes: tuple[str, ...] = ()
    """What people should know of it."""


def driver_program() -> str | None:
    """The external merge driver; None = it is not installed."""
    return shutil.which(DRIVER, path=os.pathsep.join(os.get_exec_path()))


async def resolve(way: Way, files: Sequence[FileSides]) -> Texts | str:
    """The merged texts of all files in that way; or why it is lost."""
    given = None
    if way is Way.DRIVER:
        program = driver_program()
        if program is None:
            return f"{DRIVER} is not installed"
        given = await _drive(program, [file.sides for file in files])
        if isinstance(given, str):
            return given
    request = {
        "way": way,
        "files": [[side.path, side.base, side.ours, side.theirs] for side in (file.sides for file in files)],
        "given": given,
    }
    command = [sys.executable, "-I", "-m", "quarterdeck.workplace.merge_worker"]
    done = await _bounded(command, json.dumps(request).encode(), {"PATH": os.defpath})
    if isinstance(done, str):
        return done
    if done.exit_code != 0:
        return f"merging broke off: {done.complaint.splitlines()[-1][:300] if done.complaint else done.exit_code}"
    said = json.loads(done.stdout)
    return str(said["lost"])[:900] if "lost" in said else Texts(said["texts"], tuple(said["notes"]))


async def _drive(program: str, files: Sequence[Sides]) -> dict[str, str] | str:
    """What the driver makes of each file; or why not."""
    texts = {}
    with tempfile.TemporaryDirectory(prefix="quarterdeck-driver-") as folder:
        environment = {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder}
        for number, sides in enumerate(files):
            if sides.base is None:
                return f"{sides.path}: both sides added it"
            # By its ending the driver knows the language.
            ending = posixpath.splitext(sides.path)[1]
            names = [Path(folder) / f"{number}{side}{ending}" for side in ("base", "left", "right")]
            for name, text in zip(names, (sides.base, sides.ours, sides.theirs), strict=True):
                name.write_bytes((text or "").encode())
            command = [program, "merge", *map(str, names), "-p", f"./{sides.path}"]
            done = await _bounded(command, b"", environment, _DRIVER_OUTPUT)
            if isinstance(done, str):
                return done
            if done.exit_code != 0 and not done.cut:
                return f"{sides.path}: the driver left a conflict"
            merged = None if done.cut else as_text(done.stdout)
            if merged is None or not merged.strip() or any(mark in merged for mark in _MARKS):
                return f"{sides.path}: the driver gave no merged text"
            texts[sides.path] = merged
    return texts


async def _bounded(
    command: Sequence[str], stdin: bytes, environment: Mapping[str, str], limit: int = _OUTPUT
) -> Completed | str:
    script = f'ulimit -v {MEMORY_BYTES // 1024} 2>/dev/null; ulimit -t {SECONDS + 1:.0f} 2>/dev/null; exec "$@"'
    try:
        return await run_program(["/bin/sh", "-c", script, "sh", *command], stdin, environment, -1, SECONDS, limit)
    except GitFailed:
        return f"it took longer than {SECONDS:g} s"
