"""What one edit touches, at a glance: the same names as when the file is taken apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.agents.glancing import glance
from quarterdeck.agents.touching import changed
from quarterdeck.journal.touches import Spot

CODE = '''\
"""A module."""

import os
from collections.abc import (
    Iterator,
    Mapping,
)

LIMIT = 3
NAMES = [
    "a",
    "b",
]


def mean(values):
    """For people
and their lines."""
    if not values:
        return 0
    else:
        total = sum(values)
    return total / len(values)


@cached
class Table:
    size = 1

    def add(self, row):
        for cell in row:
            self.cells.append(cell)

    if LIMIT:
        depth = 2

    @property
    def width(self):
        def inner():
            return 1
        return inner()


async def last(
    one,
    two,
):
    return one
'''
LINES = CODE.split("\n")


def edited(old: str, new: str) -> str:
    assert CODE.count(old) == 1, old
    return CODE.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("        return 0\n", "        return 1\n", ["mean"]),
        ("    else:\n        total", "    else:\n        whole", ["mean"]),
        ("and their lines", "and lines", ["mean"]),
        ("    size = 1\n", "    size = 2\n", ["Table"]),
        ("        depth = 2\n", "        depth = 3\n", ["Table"]),
        ("append(cell)", "extend(cell)", ["Table.add"]),
        ("def add(self, row)", "def add(self, rows)", ["Table.add"]),
        ("            return 1\n", "            return 2\n", ["Table.width.inner"]),
        ("    @property\n", "    @cache\n", ["Table.width"]),
        ("@cached\n", "@once\n", ["Table"]),
        ("    two,\n", "", ["last"]),
        ("    return total / len(values)\n", "", ["mean"]),
        ("def mean(values)", "def median(values)", ["median", "mean"]),
        ("\nasync def last", "\ndef new():\n    pass\n\n\nasync def last", ["new"]),
        ("LIMIT = 3\n", "LIMIT = 4\n", ["LIMIT"]),
    ],
)
def test_an_edit_belongs_to_what_stands_around_it(old: str, new: str, names: list[str]) -> None:
    assert [spot.name for spot in glance("a.py", CODE, edited(old, new))] == names


def test_lines_are_those_of_the_edited_version_and_what_is_gone_has_none() -> None:
    after = edited("        for cell in row:\n", "        print()\n        for cell in row:\n")
    (spot,) = glance("a.py", CODE, after)
    assert after.split("\n")[spot.first - 1] == "    def add(self, row):"
    assert after.split("\n")[spot.last - 1] == "            self.cells.append(cell)"
    assert Spot("mean", 0, 0) in glance("a.py", CODE, edited("def mean(values)", "def median(values)"))
    assert glance("a.py", CODE, CODE) == ()


def test_outside_of_functions_only_what_is_around_is_taken_apart() -> None:
    found = glance("a.py", CODE, edited("import os\n", "import os\nimport re\n"))
    exact = changed("a.py", CODE, edited("import os\n", "import os\nimport re\n"))
    assert found == exact
    found = glance("a.py", CODE, edited('    "b",\n', '    "b",\n    "c",\n'))
    assert found == changed("a.py", CODE, edited('    "b",\n', '    "b",\n    "c",\n'))


def test_what_is_no_python_is_taken_apart_as_it_is() -> None:
    assert glance("a.css", "a\nb\n", "a\nc\n") == changed("a.css", "a\nb\n", "a\nc\n")


@settings(max_examples=60)
@given(st.integers(0, len(LINES) - 1), st.sampled_from(["    x = 1", "        y = 2", "z = 3", "", "def n():", ")"]))
def test_any_edit_has_a_place(at: int, line: str) -> None:
    after = "\n".join([*LINES[:at], line, *LINES[at:]])
    found = glance("a.py", CODE, after)
    assert bool(found) or not line.strip()
    assert all(0 <= spot.first <= spot.last <= len(LINES) + 1 for spot in found)
