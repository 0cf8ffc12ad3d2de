"""Changes of agents, as the survey reads them in their sandbox.

Rules
- Nothing is raised: what cannot be looked at is named.
- What it says can be sent and is taken by the deck, which makes of it sentences of a bounded length.
"""

import json
from collections.abc import Sequence

from quarterdeck.delivery.validation.findings import LINE, Survey, remarks
from quarterdeck.delivery.validation.survey.report import Edit, Unread, survey, text_of
from quarterdeck.kernel.config import ValidationSection
from quarterdeck.kernel.entities import Task

INSTRUMENTED = ("quarterdeck.delivery.validation",)
WORDS = (
    *(
        "def test_a():\n",
        "    assert a == 1\n",
        "class TestA(TestCase):\n",
        "    def test_b(self):\n",
        "import unittest\n",
    ),
    *("from a import b\n", "from ....", "@pytest.mark.skip\n", "pytest.skip()", "unittest.TestCase.run = print\n"),
    *("[pytest]\naddopts = ", "-k a", "--ignore=b", "-p no:c", "[tool:pytest]\n", "# ", "; ", "#[test]\nfn a() {}\n"),
    *("it('a', () => {})", "/*", "*/", "//", "`", "\\`", "'''", '"""', "f'{a}'", "\n\n\n", "global a\n", "setattr("),
    *(
        "def load_tests(a, b, c):\n",
        "del test_a\n",
        "try:\n",
        "except ImportError:\n",
        "\x00",
        "\ufeff",
        "# coding: x\n",
    ),
)
_PATHS = ("app.py", "test_app.py", "pytest.ini", "a.test.js", "a.rs", "conftest.py", "pyproject.toml")
_LONGEST = 20_000
_TASK = Task(id="a", title="A", paths=("**",))


def one(data: bytes) -> None:
    """Survey a change of two files: a path's number and how often its text repeats, old and new text, twice."""
    edits: list[Edit] = []
    unread: list[Unread] = []
    for part in data.split(b"\0\0\0")[:2]:
        number, times = (*part[:2], 0, 0)[:2]
        path = _PATHS[number % len(_PATHS)]
        old, _, new = part[2:].partition(b"\0\0")
        new *= max(1, min(2 ** (times % 12), _LONGEST // max(1, len(new))))
        texts = [text_of(text, python=path.endswith(".py")) for text in (old, new)]
        if texts[0] is None or texts[1] is None:
            unread.append(Unread(path, texts[0] or "", gone=not new))
        elif path not in [edit.path for edit in edits]:
            edits.append(Edit(path, texts[0], texts[1]))
    sources = {edit.path: edit.new for edit in edits if edit.path.endswith(".py")}
    told = Survey.model_validate_json(json.dumps(survey(edits, sources, "", unread)))
    assert all(len(remark.problem) <= LINE for remark in remarks(told, _TASK, ValidationSection()))


def seeds() -> Sequence[bytes]:
    """A change of each kind of file, with its test."""
    test = b"\1\0def test_a():\n    assert f(1) == 1\n    assert f(2)\n\0\0def test_a():\n    assert True\n"
    found = [
        b"\0\0def f(a):\n    return a\n\0\0from b import c\n\n\ndef f(a):\n    return c(a)\n",
        b"\0\0x = 1\n\0\0import unittest\nunittest.TestCase.assertEqual = print\n",
        b"\2\0[pytest]\naddopts = -q\n\0\0[pytest]\naddopts = -q -k 'not a' --ignore=b\n",
        b"\2\13[pytest]\n\0\0\n",
        b"\3\0it('a', () => { f( 1 ) })\n\0\0it.skip('a', () => { f(1) }) /* b */\n",
        b"\4\13#[test]\nfn a() {}\n\0\0#[test]\n",
        b"\5\0\0\0def pytest_collection_modifyitems(items):\n    items.clear()\n",
        b'\6\0[project]\n\0\0[tool.pytest.ini_options]\naddopts = ["-m", "x"]\n',
    ]
    return [part + b"\0\0\0" + test for part in found]
