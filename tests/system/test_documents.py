"""The tutorial and the how-to are true: what they tell the reader to type is typed, and answers what they say.

Rules
- Blocks fenced with `sh` are run in order by one bash with a home of its own; a command that fails fails the test.
- The `text` block after them is the whole of what they print, line by line, and where there is none they print nothing.
- Times, durations, ids and commits may differ, and so may spaces. `…` stands for anything within a line; alone on its
  line it stands for any lines.
- No other fence may hold a command: `yaml`, `json` and `toml` are there to be read.
- Where the reader's model would answer, a scripted one does.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGES: Final = ("tutorial.md", "howto-command-agent.md")
_FENCE: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_MARK: Final = "--- end of block "
_VARIES: Final = (
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b(?:\d+m )?\d+(?:\.\d+)?s\b"), "DURATION"),
    (re.compile(r"\br-[0-9a-z]{8,}\b"), "RUN"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{7,40}\b"), "COMMIT"),
    (re.compile(r"\b\d+ streams, \d+ records"), "RECORDS"),
    (re.compile(r"\$0\.0\d{3} · .*? in \(.*? from cache\), \d+ out"), "MODEL COST"),
)

SCRIPT: Final = r"""
v: 1
rules:
  - match: {first: '\nRole: planner\n'}
    turns:
      - actions:
          - submit:
              tasks:
                - id: empty
                  title: An empty basket costs nothing
                  instructions: A test that the total of no prices is 0.
                  paths: [test_empty.py]
                  verify: ["python3 -m unittest test_empty"]
  - match: {first: '\nRole: implementer\n'}
    turns:
      - actions:
          - write:
              path: test_empty.py
              content: |
                import unittest

                from prices import total


                class EmptyTest(unittest.TestCase):
                    def test_empty_basket(self):
                        self.assertEqual(total([]), 0)
      - actions:
          - submit: {summary: It was so already; now a test says it.}
  - match: {first: '\nRole: reviewer\n'}
    turns:
      - actions:
          - submit: {verdict: accept, summary: The test holds what was asked for.}
"""


@dataclass(frozen=True, slots=True)
class Step:
    """Commands, and the lines that they are said to print."""

    commands: str
    says: tuple[str, ...] = ()


def steps(text: str) -> list[Step]:
    found: list[Step] = []
    for kind, body in _FENCE.findall(text):
        assert kind in ("sh", "text", "yaml", "json", "toml"), f"nothing runs what is in a fence of {kind or 'no kind'}"
        if kind == "sh":
            found.append(Step(body))
        elif kind == "text":
            assert found, "output stands before any command"
            assert not found[-1].says, f"two outputs of one command:\n{body}"
            found[-1] = Step(found[-1].commands, tuple(body.splitlines()))
    return found


def differs(printed: str, says: tuple[str, ...]) -> str | None:
    """The first printed or expected line that has no partner, or None."""
    left = [_shape(line) for line in printed.splitlines() if line.strip()]
    gap = False
    for wanted in filter(str.strip, says):
        if wanted.strip() == "…":
            gap = True
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in _shape(wanted).split("…")))
        while left and not pattern.fullmatch(left[0]):
            if not gap:
                return f"printed: {left[0]}\n   said: {wanted}"
            left.pop(0)
        if not left:
            return f"not printed: {wanted}"
        left.pop(0)
        gap = False
    return f"printed, but not said: {left[0]}" if left and not gap else None


def _shape(line: str) -> str:
    for varies, name in _VARIES:
        line = varies.sub(name, line)
    return " ".join(line.split())


@pytest.mark.parametrize(
    ("printed", "says", "same"),
    [
        ("a\nb\n", ("a", "b"), True),
        ("a\nb\n", ("a",), False),
        ("a\n", ("a", "b"), False),
        ("b\na\n", ("a", "b"), False),
        ("a\nx\nb\n", ("a", "…", "b"), True),
        ("a\nx\n", ("a", "…"), True),
        ("a x\n", ("a …",), True),
        ("ab c\n", ("ab",), False),
        ("12:00:01  merged as 3f2a91c0de, 0.4s\n", ("08:01:42 merged as 91c1e0d2aa, 12s",), True),
        ("merged 2 times\n", ("merged 1 times",), False),
        ("failed\n", (), False),
    ],
)
def test_output_is_compared_as_a_whole(printed: str, says: tuple[str, ...], same: bool) -> None:
    assert (differs(printed, says) is None) is same


@pytest.fixture
def model(tmp_path: Path) -> Iterator[str]:
    """The address of a scripted model."""
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "quarterdeck.models.scripted", "--scenario", str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["url"]
        server.communicate()  # it ends when its input does


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_what_it_says_is_what_happens(name: str, tmp_path: Path, model: str) -> None:
    told = steps((DOCS / name).read_text(encoding="utf-8"))
    assert len(told) > 1
    script = "set -e\n" + "".join(f"{step.commands}\necho '{_MARK}{number}'\n" for number, step in enumerate(told))
    home = tmp_path / "reader"
    home.mkdir()
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=home,
        env=_environment(home, model),
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
        assert (wrong := differs(printed, step.says)) is None, f"{wrong}\n\n{step.commands}\nprinted:\n{printed}"


def _environment(home: Path, model: str) -> dict[str, str]:
    """As of a person who has just installed it, with a name for git."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "ANTHROPIC_BASE_URL": model,
        **{f"GIT_{who}_{what}": "reader@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
