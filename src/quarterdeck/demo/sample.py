"""The sample repository: a real git repository, made from `sample.yaml`.

Rules
- The same commits with the same ids on every machine: identity, dates and the branch's name are given, never taken
  from whoever runs the demo.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import yaml

from quarterdeck.kernel.entities import Value
from quarterdeck.workplace.git import NO_CONFIGURATION, Git

GOAL: Final = "Make webhook delivery dependable: time limits, retries with backoff, idempotency keys, signatures"
GATE: Final = ("python3", "-m", "unittest", "discover", "-s", "tests")
"""The sample's own tests, as they are run by hand."""

_BEGAN: Final = 1_780_000_000
_BETWEEN: Final = 3_600
_WHO: Final = ("Robin Sample", "robin@sample.invalid")


class _Commit(Value):
    message: str
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """The repository as it was made."""

    place: Path
    base: str
    commits: int
    files: int


def commits() -> tuple[_Commit, ...]:
    """What the repository consists of, oldest first."""
    text = (resources.files("quarterdeck.demo") / "sample.yaml").read_text(encoding="utf-8")
    return tuple(_Commit.model_validate(item) for item in yaml.safe_load(text))


async def make(place: Path) -> Sample:
    """Make the repository in the new directory `place`. Raises GitFailed."""
    git = Git("-C", str(place), environment=NO_CONFIGURATION)
    await Git(environment=NO_CONFIGURATION).run("init", "--quiet", "--initial-branch=main", str(place))
    made = commits()
    for number, commit in enumerate(made):
        _write(place, commit)
        await git.run("add", "--all")
        await git.run("commit", "--quiet", "--file=-", stdin=commit.message.encode(), env=_signed(number))
    files = (await git.text("ls-files")).splitlines()
    return Sample(place, await git.text("rev-parse", "HEAD"), len(made), len(files))


def _write(place: Path, commit: _Commit) -> None:
    for name, content in commit.files.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")


def _signed(number: int) -> dict[str, str]:
    name, email = _WHO
    when = f"{_BEGAN + number * _BETWEEN} +0000"
    return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _fields(name, email, when)}


def _fields(name: str, email: str, when: str) -> tuple[tuple[str, str], ...]:
    return (("NAME", name), ("EMAIL", email), ("DATE", when))
