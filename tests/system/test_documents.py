"""The tutorial and the how-to are true: what they tell the reader to type is typed, and answers what they say.

Rules
- Blocks fenced with `sh` are run in order by one bash with a home of its own; a command that fails fails the test.
- A `text` block says what the commands before it print: its lines appear in this order; `…` stands for anything.
- Other fences (`console`, `toml`, `json`, ...) are shown to the reader only.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

DOCS: Final = Path(__file__).parents[2] / "docs"
_FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK: Final = "--- end of block "


@dataclass(frozen=True, slots=True)
class Step:
    """Commands, and the lines that they are said to print."""

    commands: str
    says: tuple[str, ...] = ()


def steps(text: str) -> list[Step]:
    found: list[Step] = []
    for kind, body in _FENCE.findall(text):
        if kind == "sh":
            found.append(Step(body))
        elif kind == "text":
            found[-1] = Step(found[-1].commands, tuple(body.splitlines()))
    return found


def missing(printed: str, says: tuple[str, ...]) -> str | None:
    """The first of the lines that is not there, after the ones before it."""
    lines = iter(printed.splitlines())
    for wanted in says:
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.split("…")))
        if not any(pattern.fullmatch(line.rstrip()) for line in lines):
            return wanted
    return None


def test_lines_are_looked_for_in_their_order() -> None:
    assert missing("a 1 b\nc\n", ("a…b", "c")) is None
    assert missing("c\na 1 b\n", ("a…b", "c")) == "c"
    assert missing("ab c\n", ("ab",)) == "ab"


@pytest.mark.parametrize("name", ["tutorial.md", "howto-command-agent.md"])
def test_what_it_says_is_what_happens(name: str, tmp_path: Path) -> None:
    told = steps((DOCS / name).read_text(encoding="utf-8"))
    assert len(told) > 1
    assert any(step.says for step in told)
    script = "set -e\n" + "".join(f"{step.commands}\necho '{_MARK}{number}'\n" for number, step in enumerate(told))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=_environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    rest = done.stdout
    for number, step in enumerate(told):
        printed, mark, rest = rest.partition(f"{_MARK}{number}\n")
        assert mark, f"a command ended the script in:\n{step.commands}\n{printed}"
        assert (line := missing(printed, step.says)) is None, f"{line!r} is not in:\n{step.commands}\n{printed}"


def _environment(home: Path) -> dict[str, str]:
    """As of a person who has just installed it, with a name for git."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "COLUMNS": "100",
        **{f"GIT_{who}_{what}": "reader@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
