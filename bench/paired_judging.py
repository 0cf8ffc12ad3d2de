"""Whether a tree passes the tests of a feature, in the environment of its task.

Rules
- One environment a task, made from the package index: what the code at the base commit asks for, and pytest. The code
  that is judged comes from the tree, in front of what is installed.
- A verdict holds for one tree, with its tests, and is kept: the same tree is never judged twice.
- A run that does not end in time has failed. What fails is run once more, as in the gate: a test that fails once and
  then passes says nothing of the tree.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
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
        self._idle: list[_Runner] = []
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
        passed = self._run(judged) or self._run(judged)
        with self._lock:
            self._verdicts[judged] = passed
            with self._kept.open("a") as file:
                file.write(json.dumps({"tree": judged, "passed": passed, "task": self._task.name}) + "\n")
        return passed

    def _run(self, tree: str) -> bool:
        with tempfile.TemporaryDirectory(prefix="quarterdeck-pair-") as folder:
            root = Path(folder) / "tree"
            self._task.scratch.export(tree, root)
            source = str(root / self._task.place.source)
            runner = self._runner()
            try:
                ordered = json.dumps([str(root), source, _DEADLINE, self._task.tests])
                answer = runner.ask(ordered)
            finally:
                self._idle.append(runner)
            return answer == "0"

    def _runner(self) -> "_Runner":
        with self._lock:
            return self._idle.pop() if self._idle else _Runner(self._environment / "bin" / "python")

    def close(self) -> None:
        """End what runs the tests."""
        while self._idle:
            self._idle.pop().close()


class _Runner:
    """A process with pytest in it, one run at a time."""

    def __init__(self, python: Path) -> None:
        environment = {
            "PATH": f"{python.parent}:{os.environ.get('PATH', '')}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
        }
        script = str(Path(__file__).with_name("paired_runner.py"))
        self._process = subprocess.Popen(
            [str(python), script], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line: str) -> str:
        """The answer to one order."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the runner has no pipes")
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate()
