"""What the survey of a change says, and what it leaves alone."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.delivery.survey.formatting import blocks, formatting
from quarterdeck.delivery.survey.names import invented
from quarterdeck.delivery.survey.needless import needless
from quarterdeck.delivery.survey.places import Places
from quarterdeck.delivery.survey.report import Edit, survey
from quarterdeck.delivery.survey.sources import is_test
from quarterdeck.delivery.survey.tests import assertions, find_tests, weakened

FILLER = "".join(f"line_{n} = {n}\n" for n in range(10))


# --- formatting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "old", "new", "spots"),
    [
        ("a.py", "x = [1,2]\n", "x = [ 1, 2 ]\n", [1]),
        ("a.py", "f('a')\n", 'f("a")\n', [1]),
        ("a.py", "x = 1\n", "x = 1\n\n\n", [2]),
        ("a.py", "x = 1  # one\n", "x = 1  # two\n", []),
        ("a.py", "for i in x:\n    f(i)\n    g()\n", "for i in x:\n    f(i)\ng()\n", []),  # another program
        ("a.py", "x = f(1, 2)\n", "x = f(12)\n", []),
        ("a.py", "x = (1,)\n", "x = (1)\n", []),
        ("a.py", "x = 'a b'\n", "x = 'ab'\n", []),
        ("a.yml", "a:\n  b: 1\n", "a:\nb: 1\n", []),
        ("a.yml", "a: 1  \n", "a: 1\n", [1]),
        ("a.js", "if(x){y()}\n", "if (x) {\n  y()\n}\n", [1]),
        ("a.txt", "one\n", "two\n", []),
    ],
)
def test_what_only_formats(path: str, old: str, new: str, spots: list[int]) -> None:
    assert formatting(path, old, new)[0] == spots


def test_formatting_beside_a_real_change_belongs_to_it() -> None:
    old = "a = [1,2]\nb = 1\n" + FILLER + "c = [3,4]\n"
    new = "a = [1, 2]\nb = 2\n" + FILLER + "c = [3, 4]\n"
    assert formatting("a.py", old, new) == ([13], 1)


@given(st.lists(st.sampled_from("abc\n")), st.lists(st.sampled_from("abc\n")))
def test_blocks_turn_the_old_into_the_new(old: list[str], new: list[str]) -> None:
    built, at = [], 0
    for a, b, c, d in blocks(old, new):
        built += old[at:a] + new[c:d]
        at = b
    assert built + old[at:] == new


@given(st.text(max_size=200), st.text(max_size=200))
def test_nothing_breaks_the_survey(old: str, new: str) -> None:
    told = survey([Edit("a.py", old, new), Edit("test_a.py", old, new)], {"a.py": new, "test_a.py": new})
    assert set(told) == {"formatting", "others", "tests", "weakened", "symbols", "abstractions"}


# --- tests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("test_a.py", True),
        ("src/a_test.go", True),
        ("tests/data/x.json", True),
        ("conftest.py", True),
        ("web/a.spec.ts", True),
        ("src/contest.py", False),
        ("testing.py", False),
        ("src/latest/a.py", False),
    ],
)
def test_tests_are_known_by_their_names(path: str, says: bool) -> None:
    assert is_test(path) is says


def test_the_tests_of_a_file() -> None:
    python = "import unittest\ndef test_a(): pass\nclass TestX:\n  def test_b(self): pass\n  def help(self): pass\n"
    python += "class Y(unittest.TestCase):\n  async def test_c(self): pass\n"
    assert set(find_tests("test_a.py", python)) == {"test_a", "TestX::test_b", "Y::test_c"}
    assert set(find_tests("a_test.go", "func TestOne(t *testing.T) {}\nfunc helper() {}\n")) == {"TestOne"}
    script = "test('adds', () => {});\nit(\"is 'fine'\", f);\nlatest('x', y)\n"
    assert set(find_tests("a.test.js", script)) == {"adds", "is 'fine'"}
    assert set(find_tests("a.rs", "#[test]\nfn works() {}\n#[tokio::test]\nasync fn waits() {}\nfn x() {}")) == {
        "works",
        "waits",
    }


OLD = "def test_a():\n    assert f(1) == 2\n    assert f(2) == 3\n\ndef test_b():\n    assert g()\n"


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (OLD, []),
        (OLD.replace("def test_b", "def test_renamed"), []),
        (OLD.partition("\n\n")[0], [("test_b", "removed")]),
        ("", [("test_a", "removed"), ("test_b", "removed")]),
        (OLD.replace("def test_a", "@pytest.mark.skip\ndef test_a"), [("test_a", "skipped")]),
        (OLD.replace("def test_a", "@unittest.skipIf(True, 'x')\ndef test_a"), [("test_a", "skipped")]),
        (OLD.replace("    assert g()", "    pytest.skip('x')\n    assert g()"), [("test_b", "skipped")]),
        (OLD.replace("    assert f(2) == 3\n", ""), [("test_a", "weaker")]),
        (OLD.replace("assert g()", "assert True"), [("test_b", "weaker")]),
        (OLD.replace("f(2) == 3", "f(2) == 4"), [("test_a", "edited")]),
        ("pytestmark = pytest.mark.skip\n" + OLD, [("", "skipped")]),
    ],
)
def test_tests_that_hold_less_than_before(new: str, says: list[tuple[str, str]]) -> None:
    assert [(found.name, found.how) for found in weakened([("test_a.py", OLD, new)], set())] == says


def test_a_test_that_moved_is_not_removed_and_one_may_go_with_what_it_tested() -> None:
    first, second = OLD.split("\n\n")
    assert not list(weakened([("test_a.py", OLD, first), ("test_b.py", "", second)], set()))
    (found,) = weakened([("test_a.py", OLD, first)], {"g"})
    assert (found.how, found.gone) == ("removed", True)
    (skipped,) = weakened([("a.test.js", "test('a', f)", "test.skip('a', f); test('a', f)")], set())
    assert skipped.how == "skipped"


@pytest.mark.parametrize(
    ("source", "count"),
    [("assert True", 0), ("assert x", 1), ("self.assertEqual(a, b)", 1), ("with pytest.raises(E): f()", 1), ("f()", 0)],
)
def test_assertions_are_counted(source: str, count: int) -> None:
    assert assertions(ast.parse(source)) == count


# --- names ------------------------------------------------------------------------------------------------

TREE = {
    "pkg/__init__.py": "from pkg.core import run\n",
    "pkg/core.py": "import os\nLIMIT = 3\ndef run(): pass\nif os.name: HERE = 1\n",
    "pkg/lazy.py": "def __getattr__(name): return 1\n",
    "pkg/star.py": "from pkg.core import *\n",
    "src/other/mod.py": "class A: pass\n",
}


@pytest.mark.parametrize(
    "source",
    [
        "from pkg.core import LIMIT, run, HERE",
        "from pkg import run, core",
        "from pkg.lazy import anything",
        "from pkg.star import LIMIT",
        "from . import core\nfrom .core import run",
        "from other.mod import A",
        "import os.path\nprint(os.path.join('a'))",
        "import json as j\nj.dumps(1)",
        "try:\n    import nowhere\nexcept ImportError:\n    nowhere = None",
        "import known_elsewhere",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nowhere import X",
        "def f(x):\n    return [y for y in x if (z := y)]",
        "class A:\n    b = 1\n    c = b\n    def f(self): return __class__",
        "def f():\n    global late\n    late = 1\nprint(late)",
        "import json\ndef f(json): return json.anything",
        "from os import *\nprint(getcwd())",
        "print(__file__)",
        "def f(a: int, *b, **c): del a; return b, c",
        "match x():\n    case [a, *b]: print(a, b)\ndef x(): return [1]",
        "import yaml_is_not_there_but_this_is_not_python_(",
    ],
)
def test_names_that_resolve(source: str) -> None:
    assert list(invented("pkg/new.py", source, Places(TREE), {"known_elsewhere"})) == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nowhere", "there is no module `nowhere`"),
        ("import os.nowhere", "there is no module `os.nowhere`"),
        ("from pkg.nowhere import x", "there is no module `pkg.nowhere`"),
        ("from .nowhere import x", "there is no module `pkg.nowhere`"),
        ("from pkg.core import walk", "`pkg.core` has no name `walk`"),
        ("from pkg.star import walk", "`pkg.star` has no name `walk`"),
        ("from json import parse", "`json` has no name `parse`"),
        ("import json\njson.parse('1')", "`json` has no name `parse`"),
        ("import pkg.core as c\nc.walk()", "`pkg.core` has no name `walk`"),
        ("def f():\n    return undefined_thing(1)", "the name `undefined_thing` is defined nowhere"),
        ("class A:\n    def f(self):\n        return helper()", "the name `helper` is defined nowhere"),
    ],
)
def test_names_that_resolve_nowhere(source: str, says: str) -> None:
    assert [what for _, what in invented("pkg/new.py", source, Places(TREE), set())] == [says]


def test_only_what_the_change_brought_is_named() -> None:
    old, new = "import nowhere\n", "import nowhere\nimport neverwhere\n"
    told = survey([Edit("a.py", old, new)], {"a.py": new})
    assert told["symbols"] == [{"path": "a.py", "line": 2, "what": "there is no module `neverwhere`"}]


def test_this_package_names_nothing_that_is_not_there() -> None:
    root = Path(__file__).parents[2] / "src"
    sources = {str(path.relative_to(root)): path.read_text() for path in root.rglob("quarterdeck/delivery/survey/*.py")}
    others = {path.parent.name for path in root.rglob("*.py")} | {"quarterdeck"}
    places = Places(sources)
    found = [what for path, text in sources.items() for _, what in invented(path, text, places, others)]
    assert found == []


# --- abstraction ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def a(x, *y, k, **z):\n    'doc'\n    return b(x, *y, k=k, **z)\n", "`a` only forwards its arguments to `b`"),
        ("async def a(x):\n    return await c.d(x)\n", "`a` only forwards its arguments to `c.d`"),
        ("def a(x):\n    return b(x, 1)\n", ""),
        ("def a(x=1):\n    return b(x)\n", ""),
        ("def a():\n    return b()\n", ""),
        ("class A(Protocol):\n    def m(self): ...\nclass B:\n    def m(self): pass\n", "one implementation"),
        ("class A(ABC):\n    pass\n", "no implementation"),
        ("class A(ABC):\n    pass\nclass B(A): pass\nclass C(A): pass\n", ""),
        (
            "class A:\n    def __init__(self): pass\n    def m(self): pass\nA().m()\n",
            "one method (`m`) and is used once",
        ),
        ("class A:\n    def m(self): pass\nA().m()\nA().m()\n", ""),
        ("class A:\n    def m(self): pass\n    def n(self): pass\nA()\n", ""),
        ("@dataclass\nclass A:\n    x: int\n    def m(self): pass\nA(1)\n", ""),
    ],
)
def test_abstractions(source: str, says: str) -> None:
    found = [what for _, what in needless("a.py", "", source, {"a.py": source})]
    assert len(found) == bool(says)
    assert says in "".join(found)
    assert list(needless("a.py", source, source, {"a.py": source})) == [], "what was there is not this change's"
