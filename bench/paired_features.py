"""Pairs of real features of one code base, from the public CooperBench data, and what merging makes of them.

Rules
- A task is a repository at a commit and some features, each with a patch and a patch of tests. Each feature's patch
  alone, without the test files that it touches, is one side of a merge; the tests come with the judgement.
- Trees are made in a scratch repository beside a clone, which is only read. Nothing is checked out.
- The ways are those of the gate, in its order, on the paths that git left in conflict; where git's merge is clean and
  no good, on the paths that both features changed. What the gate does not merge as text (modes, attributes, sizes) is
  not looked for.
"""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from quarterdeck.merge.lint import objections
from quarterdeck.merge.values import Lost, Sides, Way
from quarterdeck.merge.ways import resolve

_TESTS: Final = ("/test_", "/tests/", "_test.py", "/test/", "tests.py")
"""What the data's own runner takes for test files in a feature's patch."""
_BASE: Final = re.compile(r"^BASE_COMMIT=\"?([0-9a-f]{40})", re.MULTILINE)
_COMMAND: Final = re.compile(r"-m pytest ((?:[\w./-]+\.py ?)+)")
_NAMED: Final = re.compile(r"^\+\+\+ b/(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task's repository is found, and its code in it."""

    repository: str
    source: str


PLACES: Final = {
    "samuelcolvin_dirty_equals_task/task43": Place("dirty-equals", ""),
    "pallets_click_task/task2800": Place("click", "src"),
    "pallets_click_task/task2068": Place("click", "src"),
    "pallets_click_task/task2956": Place("click", "src"),
    "pallets_jinja_task/task1465": Place("jinja", "src"),
    "pallets_jinja_task/task1559": Place("jinja", "src"),
    "pallets_jinja_task/task1621": Place("jinja", "src"),
}
"""The tasks that run without a compiler, a GPU or a download at test time."""
DEVELOPED_ON: Final = ("samuelcolvin_dirty_equals_task/task43", "pallets_click_task/task2800")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one way made of two features."""

    way: Way
    tree: str | None
    lost: str = ""


class Scratch:
    """Git objects of our own beside those of a clone."""

    def __init__(self, clone: Path, folder: Path) -> None:
        self._folder = folder
        subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
        objects = subprocess.run(
            ["git", "-C", str(clone), "rev-parse", "--git-path", "objects"], check=True, capture_output=True, text=True
        )
        (folder / "objects/info/alternates").write_text(f"{(clone / objects.stdout.strip()).resolve()}\n")

    def git(self, *arguments: str, stdin: bytes = b"", index: Path | None = None, ok: tuple[int, ...] = (0,)) -> bytes:
        """The output of a git command. Raises RuntimeError."""
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        for who in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{who}_NAME": "bench", f"GIT_{who}_EMAIL": "bench@localhost"}
            environment[f"GIT_{who}_DATE"] = "2026-01-01T00:00:00Z"
        if index is not None:
            environment["GIT_INDEX_FILE"] = str(index)
        done = subprocess.run(
            ["git", f"--git-dir={self._folder}", *arguments], input=stdin, capture_output=True, env=environment
        )
        if done.returncode not in ok:
            raise RuntimeError(f"git {arguments[0]}: {done.stderr.decode('utf-8', 'replace')[-300:]}")
        return done.stdout

    def patched(self, tree: str, patch: str) -> str:
        """The tree with a patch on it. Raises RuntimeError."""
        with tempfile.TemporaryDirectory() as folder:
            index = Path(folder) / "index"
            self.git("read-tree", tree, index=index)
            loose = ("--ignore-whitespace", "--ignore-space-change")
            for options in ((), loose, ("--recount",), ("--3way",)):
                try:
                    self.git("apply", "--cached", *options, "-", stdin=patch.encode(), index=index)
                    break
                except RuntimeError as error:
                    reason = error
                    self.git("read-tree", tree, index=index)
            else:
                raise reason
            return self.git("write-tree", index=index).decode().strip()

    def commit(self, tree: str, *parents: str) -> str:
        """A commit of that tree."""
        given = [part for parent in parents for part in ("-p", parent)]
        return self.git("commit-tree", tree, *given, "-m", "feature").decode().strip()

    def changed(self, old: str, new: str) -> set[str]:
        """The paths that differ."""
        listing = self.git("diff-tree", "-r", "-z", "--no-renames", "--name-only", old, new).decode()
        return {name for name in listing.split("\0") if name}

    def text(self, tree: str, path: str) -> str | None:
        """A file of a tree; None = it is not there."""
        listing = self.git("ls-tree", "-z", tree, "--", path).decode()
        if not listing:
            return None
        blob = listing.split("\t", 1)[0].split()[2]
        return self.git("cat-file", "blob", blob).decode("utf-8", "surrogateescape")

    def replaced(self, tree: str, texts: dict[str, str]) -> str:
        """The tree with these files in it."""
        with tempfile.TemporaryDirectory() as folder:
            index = Path(folder) / "index"
            self.git("read-tree", tree, index=index)
            for path, text in texts.items():
                blob = self.git("hash-object", "-w", "--stdin", stdin=text.encode("utf-8", "surrogateescape"))
                mode = self.git("ls-tree", tree, "--", path).decode().split(" ", 1)[0] or "100644"
                self.git("update-index", "--add", "--cacheinfo", f"{mode},{blob.decode().strip()},{path}", index=index)
            return self.git("write-tree", index=index).decode().strip()

    def export(self, tree: str, folder: Path) -> None:
        """The files of a tree on disk."""
        folder.mkdir(parents=True)
        archive = self.git("archive", "--format=tar", tree)
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)


class Task:
    """One task of the data."""

    def __init__(self, name: str, folder: Path, scratch: Scratch) -> None:
        self.name = name
        self.place = PLACES[name]
        self._folder = folder
        self.scratch = scratch
        found = _BASE.search((folder / "setup.sh").read_text())
        if found is None:
            raise RuntimeError(f"{name}: setup.sh names no commit")
        self.base = found.group(1)
        self.features = sorted(int(path.name.removeprefix("feature")) for path in folder.glob("feature[0-9]*"))

    @cached_property
    def tests(self) -> tuple[str, ...]:
        """The files that its runner runs."""
        found = _COMMAND.findall((self._folder / "run_tests.sh").read_text())
        return tuple(found[-1].split()) if found else ()

    def tests_patch(self, feature: int) -> str:
        return (self._folder / f"feature{feature}" / "tests.patch").read_text()

    def side(self, feature: int) -> str:
        """The commit of a feature on the task's base. Raises RuntimeError."""
        patch = (self._folder / f"feature{feature}" / "feature.patch").read_text()
        tree = self.scratch.git("rev-parse", f"{self.base}^{{tree}}").decode().strip()
        return self.scratch.commit(self.scratch.patched(tree, without_tests(patch)), self.base)

    def judged(self, tree: str, feature: int) -> str:
        """The tree with a feature's tests. Raises RuntimeError."""
        return self.scratch.patched(tree, self.tests_patch(feature))


def without_tests(patch: str) -> str:
    """A patch without the files that the data's own runner leaves out."""
    parts = re.split(r"(?m)^(?=diff --git )", patch)
    kept = [part for part in parts if not any(mark in part.split("\n", 1)[0] for mark in _TESTS)]
    text = "".join(kept)
    return text if text.endswith("\n") or not text else f"{text}\n"


class Pair:
    """Two commits on one base, and what each way makes of them."""

    def __init__(self, scratch: Scratch, base: str, ours: str, theirs: str) -> None:
        self._scratch = scratch
        self._commits = (base, ours, theirs)
        output = scratch.git("merge-tree", "--write-tree", "--name-only", "-z", ours, theirs, ok=(0, 1))
        tree, _, rest = output.partition(b"\0")
        names, _, _ = rest.partition(b"\0\0")
        self._merged = tree.decode()
        self._conflicts = [name.decode() for name in names.split(b"\0") if name] if rest else []

    def candidate(self, way: Way) -> Candidate:
        """The tree of one way, or why there is none."""
        if way is Way.GIT:
            conflicts = self._conflicts
            return Candidate(way, None if conflicts else self._merged, f"conflicts in {', '.join(conflicts)}")
        if way is Way.DRIVER:
            return Candidate(way, None, "no driver is installed")
        base, ours, theirs = self._commits
        paths = self._conflicts or sorted(self._scratch.changed(base, ours) & self._scratch.changed(base, theirs))
        return _resolved(self._scratch, way, self._merged, self._commits, paths)


def _resolved(scratch: Scratch, way: Way, tree: str, commits: tuple[str, str, str], paths: list[str]) -> Candidate:
    texts: dict[str, str] = {}
    for path in paths:
        base, ours, theirs = (scratch.text(commit, path) for commit in commits)
        sides = Sides(path, base, ours, theirs)
        found = resolve(way, sides)
        if isinstance(found, Lost):
            return Candidate(way, None, f"{path}: {found.reason}")
        if complaints := objections(sides, found.text):
            return Candidate(way, None, f"{path}: {'; '.join(complaints)}")
        texts[path] = found.text
    return Candidate(way, scratch.replaced(tree, texts))
