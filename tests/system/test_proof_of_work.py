"""New tests have to prove something, tests that are there stay, and what validation finds is named or sent back."""

import shutil
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from deck_kit import Place, carried, events, one, place_at, run_events, task

from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.workplace.ground import Ground

pytestmark = pytest.mark.sandbox

CALC = "def add(a, b):\n    return a + b\n"
TESTS = """\
import unittest
import calc


class TestCalc(unittest.TestCase):
    def test_add(self):
        self.assertEqual(calc.add(1, 2), 3)
        self.assertEqual(calc.add(0, 0), 0)
"""
FILES = {"calc.py": CALC, "test_calc.py": TESTS}
PATHS = ["calc.py", "test_calc.py", "test_new.py"]
VERIFY = ["python3 -m unittest -q"]
ONCE = "[limits]\nattempts = 1\n"
SUB = "\\n\\ndef sub(a, b):\\n    return a - b\\n"


def work(script: str, **fields: Any) -> dict[str, Any]:
    return task("a", script, **{"paths": PATHS, "verify": VERIFY, **fields})


def new_test(*lines: str) -> str:
    """A script that writes `test_new.py` with one test of these lines."""
    body = "".join(f"        {line}\\n" for line in lines)
    head = "import unittest\\nimport calc\\n\\n\\nclass TestNew(unittest.TestCase):\\n    def test_it(self):\\n"
    return f'printf "{head}{body}" > test_new.py'


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


async def test_a_new_test_that_passes_without_the_change_is_sent_back(place: Place) -> None:
    place.begin(FILES)
    script = (
        f'printf "{SUB}" >> calc.py; if [ "$ATTEMPT" = 1 ]; then {new_test("self.assertEqual(calc.add(2, 2), 4)")};'
        f" else {new_test('self.assertEqual(calc.sub(2, 2), 0)')}; fi"
    )
    async with carried(place, work(script)) as (deck, result):
        assert (result.status, one(result, "a").attempts) == (RunStatus.DONE, 2), result
        assert "calc.sub" in place.tree(result)["test_new.py"]
        (found,) = [
            x
            for x in await events(deck, ids.attempt_stream(f"{result.run}.a.1"))
            if isinstance(x, e.ChangeInspected)
        ]
        assert (found.blocking, found.warnings) == (1, 0)
        assert "pass without the rest of the change, so they prove nothing: test_new.py::TestNew::test_it" in found.first
        assert "prove nothing" in await deck.report(result.run)
