"""Whether a tree passes the tests of a feature, in the environment of its task.

Rules
- One environment a task, made from the package index: what the code at the base commit asks for, and pytest. The code
  that is judged comes from the tree, in front of what is installed.
- A verdict holds for one tree, with its tests, and is kept: the same tree is never judged twice.
- A run that does not end in time has failed.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.paired_features import Task

_DEADLINE: Final = 180.0
"""Seconds of one run of tests."""
_TOOLS: Final = ("pytest<9", "pytest-mock", "pytest-xdist", "trio", "pytz", "pydantic")
"""For the tests: what some task's test files import beside the package itself."""


class Judge:
    """Runs tests of one task."""

    def __init__(self, task: Task, folder: Path) -> None:
        self._task = task
        self._environment = folder / "environments" / task.name.replace("/", "-")
        self._kept = folder / "verdicts.jsonl"
        self._lock = threading.Lock()
        self._verdicts: dict[str, bool] = {}
        if self._kept.exists():
            for line in self._kept.read_text().splitlines():
                verdict = json.loads(line)
                self._verdicts[verdict["tree"]] = verdict["passed"]

    def prepare(self) -> None:
        """Make the environment. Raises CalledProcessError."""
        if (self._environment / "made").exists():
            return
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            self._task.scratch.export(self._task.base, source)
            uv = [sys.executable, "-m", "uv"]
            subprocess.run([*uv, "venv", "-q", "--clear", "--python", sys.executable, self._environment], check=True)
            python = self._environment / "bin" / "python"
            subprocess.run([*uv, "pip", "install", "-q", "--python", python, str(source), *_TOOLS], check=True)
        (self._environment / "made").touch()

    def passes(self, tree: str, feature: int) -> bool:
        """Whether a tree passes the tests of one feature."""
        try:
            judged = self._task.judged(tree, feature)
        except RuntimeError:
            return False  # its tests cannot be put on it
        with self._lock:
            if judged in self._verdicts:
                return self._verdicts[judged]
        passed = self._run(judged, self._task.tests)
        with self._lock:
            self._verdicts[judged] = passed
            with self._kept.open("a") as file:
                file.write(json.dumps({"tree": judged, "passed": passed, "task": self._task.name}) + "\n")
        return passed

    def _run(self, tree: str, files: Sequence[str]) -> bool:
        with tempfile.TemporaryDirectory(prefix="quarterdeck-pair-") as folder:
            root = Path(folder) / "tree"
            self._task.scratch.export(tree, root)
            command = [
                str(self._environment / "bin" / "python"),
                "-m",
                "pytest",
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                *files,
            ]
            environment = {
                "PATH": f"{self._environment / 'bin'}:{os.environ.get('PATH', '')}",
                "PYTHONPATH": str(root / self._task.place.source),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": folder,
                "LANG": "C.UTF-8",
            }
            process = subprocess.Popen(
                command,
                cwd=root,
                env=environment,
                process_group=0,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                return process.wait(_DEADLINE) == 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
                return False
