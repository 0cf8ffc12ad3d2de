"""What the survey of a change says, and what it leaves alone."""

import ast
import difflib
import io
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.delivery.validation.survey.formatting import Effort, blocks, formatting
from quarterdeck.delivery.validation.survey.needless import needless
from quarterdeck.delivery.validation.survey.options import judges, narrows
from quarterdeck.delivery.validation.survey.report import Edit, Unread, main, survey, text_of
from quarterdeck.delivery.validation.survey.sources import FOREIGN, is_test
from quarterdeck.delivery.validation.survey.steering import steers
from quarterdeck.delivery.validation.survey.tests import assertions, find_tests, weakened

FILLER = "".join(f"line_{n} = {n}\n" for n in range(10))


# --- what cannot be looked at -----------------------------------------------------------------------------


def test_a_configuration_that_cannot_be_read_is_named_before_any_code() -> None:
    unread = [*(Unread(f"a{n}.py") for n in range(200)), Unread("pytest.ini")]
    found = survey([], {}, unread=unread)["unseen"]
    assert found[0]["path"] == "pytest.ini"
    assert len(found) == 100


# --- formatting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "old", "new", "spots"),
    [
        ("a.py", "x = [1,2]\n", "x = [ 1, 2 ]\n", [(1, False)]),
        ("a.py", "f('a')\n", 'f("a")\n', [(1, False)]),
        ("a.py", "x = 1\n", "x = 1\n\n\n", [(2, True)]),
        ("a.py", "x = 1 \n", "x = 1\n", [(1, True)]),
        ("a.py", "x = 1  # one\n", "x = 1  # two\n", []),
        ("a.py", "for i in x:\n    f(i)\n    g()\n", "for i in x:\n    f(i)\ng()\n", []),  # another program
        ("a.py", "x = f(1, 2)\n", "x = f(12)\n", []),
        ("a.py", "x = (1,)\n", "x = (1)\n", []),
        ("a.py", "x = 'a b'\n", "x = 'ab'\n", []),
        ("a.yml", "a:\n  b: 1\n", "a:\nb: 1\n", []),
        ("a.yml", "a: 1  \n", "a: 1\n", [(1, True)]),
        ("a.js", "if(x){y()}\n", "if (x) {\n  y()\n}\n", [(1, False)]),
        ("a.js", "x = 'a b'\n", "x = 'ab'\n", []),
        ("a.js", "x = `a  b`\n", "x = `a b`\n", []),
        ("a.js", "return\nx\n", "return x\n", []),  # returns nothing
        ("a.js", "// it\nf()\n", "// it f()\n", []),
        ("a.js", "x = `\n  one\n`\n", "x = `\n    one\n`\n", []),
        ("a.go", "type A struct {\n\tB int\n}\n", "type A struct {\n\tB    int\n}\n", [(2, False)]),
        ("a.c", "#define A  b\n", "#define A\nb\n", []),
        ("a.json", '{"a":1}\n', '{\n  "a": 1\n}\n', [(1, False)]),
        ("a.txt", "one\n", "two\n", []),
        ("a.txt", "one  two\n", "one two\n", []),
        ("a.md", "text\n\n    code\n", "text\n\ncode\n", []),
        ("a.md", "break  \nhere\n", "break\nhere\n", []),
    ],
)
def test_what_only_formats(path: str, old: str, new: str, spots: list[tuple[int, bool]]) -> None:
    assert formatting(path, old, new).spots == spots


def test_formatting_beside_a_real_change_belongs_to_it() -> None:
    old = "a = [1,2]\nb = 1\n" + FILLER + "c = [3,4]\n"
    new = "a = [1, 2]\nb = 2\n" + FILLER + "c = [3, 4]\n"
    assert formatting("a.py", old, new) == ("a.py", [(13, False)], True)


CODE = Edit("a.py", "a = 1\n", "a = 2\n")
STYLE = Edit("b.py", "b = [1,2]\n", "b = [1, 2]\n")


@pytest.mark.parametrize(
    ("edits", "spots"),
    [
        ([STYLE, CODE], ["b.py"]),
        ([STYLE], []),
        ([STYLE, Edit("lock.toml", "ruff = 1\n", "ruff = 2\n")], []),  # a formatter came, and formatted
        ([Edit("a.js", "f( )\n", "f()\n"), CODE], ["a.js"]),
        ([Edit("a.json", "[ ]\n", "[]\n"), Edit("a.md", "a\n", "b\n")], []),
        ([STYLE, Edit("new.py", "", "x = 1\n")], ["b.py"]),
    ],
)
def test_formatting_is_unrelated_where_code_is_changed_for_real(edits: list[Edit], spots: list[str]) -> None:
    assert [spot["path"] for spot in survey(edits, {})["formatting"]] == spots


@given(st.lists(st.sampled_from("abc\n")), st.lists(st.sampled_from("abc\n")))
def test_blocks_turn_the_old_into_the_new(old: list[str], new: list[str]) -> None:
    built, at = [], 0
    for a, b, c, d in blocks(old, new) or ():
        built += old[at:a] + new[c:d]
        at = b
    assert built + old[at:] == new


@given(st.lists(st.sampled_from("abc\n")), st.lists(st.sampled_from("abc\n")))
def test_blocks_are_those_of_the_standard_library(old: list[str], new: list[str]) -> None:
    found = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    changed = [tuple(code[1:]) for code in found if code[0] != "equal"]
    assert len(blocks(old, new) or ()) <= len(changed)
    assert (blocks(old, new) == []) is (old == new)


def test_what_takes_too_long_to_compare_is_left_out_and_costs_the_others_little() -> None:
    old, new = ("".join(f'{{\n"id": {n * by}\n}},\n' for n in range(1_000)) for by in (1, 7))
    for path in ("a.json", "a.md"):
        assert formatting(path, old, new) == (path, [], True)
    effort = Effort(1_000)
    assert formatting("a.json", old, new, effort) == ("a.json", [], True)
    assert formatting("b.py", *STYLE[1:], effort).spots == [(1, False)]
    assert formatting("b.py", *STYLE[1:], Effort(10)).spots == []


@given(st.text(max_size=200), st.text(max_size=200))
def test_nothing_breaks_the_survey(old: str, new: str) -> None:
    told = survey([Edit("a.py", old, new), Edit("test_a.py", old, new)], {"a.py": new, "test_a.py": new})
    assert set(told) == {"formatting", "tests", "around", "weakened", "symbols", "abstractions", "unseen"}
    assert all("does not know its syntax" in spot["what"] for spot in told["unseen"])


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
        (OLD.replace("    assert f(2) == 3\n", "    self.assertTrue(True)\n"), [("test_a", "weaker")]),
        (OLD.replace("f(2) == 3", "f(2) == 4"), [("test_a", "edited")]),
        # One thing that is held for two is no less, nor is the same thing held once.
        (OLD.replace("    assert f(2) == 3\n", "").replace("f(1) == 2", "f(n) == n + 1"), [("test_a", "edited")]),
        (OLD.replace("    assert g()", "    assert g()\n    assert g()"), [("test_b", "edited")]),
        (
            OLD.replace("def test_b():\n    assert g()", "def test_c(x):\n    assert g()\n    assert x"),
            [("test_b", "edited")],
        ),
        ("pytestmark = pytest.mark.skip\n" + OLD, [("", "skipped")]),
        ("pytestmark = [pytest.mark.skipif(sys.platform == 'atari', reason='')]\n" + OLD, [("", "skipped elsewhere")]),
        ("if sys.version_info < (2,):\n    pytest.skip(allow_module_level=True)\n" + OLD, [("", "skipped elsewhere")]),
        ("pytest.importorskip('x')\n" + OLD, []),
        (OLD.replace("    assert g()", "    parser.skip()\n    assert g()"), [("test_b", "edited")]),
        (OLD.replace("def test_a", "@unittest.expectedFailure\ndef test_a"), [("test_a", "skipped")]),
        (OLD.replace("def test_a", "@unittest.skipUnless(False, 'x')\ndef test_a"), [("test_a", "skipped")]),
        (
            OLD.replace("def test_a", "@pytest.mark.skipif(sys.version_info > (3,), reason='x')\ndef test_a"),
            [("test_a", "skipped")],
        ),
        (
            OLD.replace("def test_a", "@pytest.mark.skipif(sys.version_info < (3, 2), reason='x')\ndef test_a"),
            [("test_a", "skipped elsewhere")],
        ),
        (
            OLD.replace("def test_a", "@pytest.mark.xfail(PYPY, reason='x')\ndef test_a"),
            [("test_a", "skipped elsewhere")],
        ),
        (
            OLD.replace("    assert g()", "    if WIN:\n        pytest.skip('x')\n    assert g()"),
            [("test_b", "skipped elsewhere")],
        ),
        (OLD.replace("    assert g()", "    if 1:\n        pytest.skip('x')\n    assert g()"), [("test_b", "skipped")]),
    ],
)
def test_tests_that_hold_less_than_before(new: str, says: list[tuple[str, str]]) -> None:
    assert [(found.name, found.how) for found in weakened([("test_a.py", OLD, new)], set())] == says


def test_a_test_that_moved_is_not_removed_and_one_may_go_with_what_it_tested() -> None:
    first, second = OLD.split("\n\n")
    assert not list(weakened([("test_a.py", OLD, first), ("test_b.py", "", second)], set()))
    for home in ("tests/a.py", "a.py", "conftest.py"):
        lost = list(weakened([("test_a.py", OLD, ""), (home, "", OLD)], set()))
        assert lost and {found.how for found in lost} == {"removed"}, "where no runner looks for it"
        assert not list(weakened([("tests/b.py", OLD, ""), (home, "", OLD)], set())), "nor did it before"
    assert not list(weakened([("test_a.py", OLD, ""), ("tests/sub/test_a.py", "", OLD)], set())), "to a new file"
    (found,) = weakened([("test_a.py", OLD, first)], {"g"})
    assert (found.how, found.gone) == ("removed", True)
    (skipped,) = weakened([("a.test.js", "test('a', f)", "test.skip('a', f); test('a', f)")], set())
    assert skipped.how == "skipped"


@pytest.mark.parametrize(
    ("fresh", "says"),
    [
        ("def test_b():\n    pass\n", ["weaker"]),
        ("@pytest.mark.skip\ndef test_b():\n    assert g()\n", ["skipped"]),
        ("def test_b():\n    assert True\n", ["weaker"]),
        ("def test_b():\n    assert other() == 1\n", []),
        ("class TestX:\n    def test_b(self):\n        pass\n", ["weaker"]),
        ("def test_b():\n    pass\nclass TestX:\n    def test_b(self):\n        assert other()\n", []),
    ],
)
def test_a_test_that_went_elsewhere_holds_no_less(fresh: str, says: list[str]) -> None:
    first, _ = OLD.split("\n\n")
    found = weakened([("test_a.py", OLD, first), ("test_b.py", "", fresh)], set())
    assert [(weak.name, weak.how) for weak in found] == [("test_b", how) for how in says]


def test_a_test_that_went_elsewhere_with_fewer_assertions_was_edited() -> None:
    fresh = "def test_a(n):\n    assert f(n) == n + 1\n"
    (found,) = weakened([("test_a.py", OLD, OLD.split("\n\n")[1]), ("test_b.py", "", fresh)], set())
    assert (found.name, found.how) == ("test_a", "edited")


METHOD = "class TestX:\n    def test_a(self):\n        assert f()\n    def test_b(self):\n        assert g()\n"


@pytest.mark.parametrize(
    ("old", "more", "says"),
    [
        (OLD, "del test_a\n", ["test_a"]),
        (OLD, "test_a = None\n", ["test_a"]),
        (OLD, "test_a = test_b = None\n", ["test_a", "test_b"]),
        (OLD, "test_a = slow(test_a)\ndel helper\nx = None\n", []),
        (METHOD, "    del test_a\n", ["TestX::test_a"]),
        (METHOD, "    test_b = None\n", ["TestX::test_b"]),
        (METHOD, "del TestX.test_a\n", ["TestX::test_a"]),
        (METHOD, "TestX.test_a = None\nTestX.timeout = 3\n", ["TestX::test_a"]),
        (METHOD, "TestX = None\n", ["TestX::test_a", "TestX::test_b"]),
        (METHOD, "class TestY(TestX):\n    pass\ndel TestX\n", []),
        ("test_a = None\n" + OLD, "", []),
    ],
)
def test_a_test_whose_name_is_taken_away_is_removed(old: str, more: str, says: list[str]) -> None:
    found = weakened([("test_a.py", old, old + more)], set())
    assert [(weak.name, weak.how) for weak in found] == [(name, "removed") for name in says]


def test_what_matters_is_told_first_where_not_all_is() -> None:
    many = "".join(f"def test_{n}():\n    assert f({n})\n" for n in range(150))
    edits = [Edit("test_a.py", many, many.replace("f(", "g(")), Edit("test_b.py", OLD, "")]
    told = survey(edits, {})["weakened"]
    assert len(told) == 100
    assert [found["how"] for found in told[:3]] == ["removed", "removed", "edited"]


CASE = "class TestX(TestCase):\n    def setUp(self):\n        pass\n    def test_a(self):\n        assert f()\n"


@pytest.mark.parametrize(
    ("new", "how"),
    [
        ("@unittest.skip('later')\n" + CASE, "skipped"),
        (CASE.replace("pass", "raise SkipTest"), "skipped"),
        (CASE.replace("pass", "self.skipTest('later')"), "skipped"),
        (CASE.replace("    def setUp", "    pytestmark = pytest.mark.xfail\n    def setUp"), "skipped"),
        (CASE.replace("    def setUp", "    __test__ = False\n    def setUp"), "skipped"),
        ("@skipIf(NO_NETWORK, 'later')\n" + CASE, "skipped elsewhere"),
    ],
)
def test_a_class_that_is_skipped_skips_its_tests(new: str, how: str) -> None:
    assert [(found.name, found.how) for found in weakened([("test_a.py", CASE, new)], set())] == [
        ("TestX::test_a", how)
    ]


def test_a_new_test_is_told_with_how_silent_it_is() -> None:
    marks = {"": 0, "@pytest.mark.xfail\n": 3, "@skipif(os.name != '')\n": 2, "@skipif(True)\n": 3, "@skipif(X)\n": 1}
    for mark, silence in marks.items():
        (found,) = survey([Edit("test_a.py", "", f"{mark}def test_a(): assert f()\n")], {})["tests"]
        assert (found["name"], found["new"], found["silence"]) == ("test_a", True, silence), mark
    whole = survey([Edit("test_a.py", "", "pytestmark = pytest.mark.skip\ndef test_a(): assert f()\n")], {})
    assert [found["silence"] for found in whole["tests"]] == [3]


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("assert True", 0),
        ("self.assertTrue(True)", 0),
        ("assert x", 1),
        ("self.assertEqual(a, b)", 1),
        ("with pytest.raises(E): f()", 1),
        ("f()", 0),
        ("assert x or True", 0),
        ("assert x or y", 1),
    ],
)
def test_assertions_are_counted(source: str, count: int) -> None:
    assert len(assertions(ast.parse(source))) == count


# --- what cannot be looked at -------------------------------------------------------------------------------

DEEP = f"def test_deep():\n    x = {'+'.join('1' * 1500)}\n"


def test_one_odd_file_hides_nothing_of_the_others() -> None:
    edits = [Edit("test_a.py", OLD, ""), Edit("test_odd.py", "", DEEP), Edit("odd.py", DEEP, "x = 1\n")]
    told = survey([*edits, STYLE, CODE], {"odd.py": "x = 1\n"})
    assert [(found["path"], found["how"]) for found in told["weakened"]] == [("test_a.py", "removed")] * 2
    assert [spot["path"] for spot in told["formatting"]] == ["b.py"]
    assert [spot["path"] for spot in told["unseen"]] == ["test_odd.py", "odd.py"]


def test_tests_that_cannot_be_looked_at_any_more_are_named() -> None:
    unread = [Unread("test_b.py", OLD), Unread("b.png"), Unread("tests/b.png"), Unread("c.py")]
    told = survey([Edit("test_a.py", OLD, DEEP + OLD)], {}, unread=unread)
    assert [(found["path"], found["how"]) for found in told["weakened"]] == [
        ("test_a.py", "unreadable"),
        ("test_b.py", "unreadable"),
    ]
    assert [spot["path"] for spot in told["unseen"]] == ["c.py"]


def test_what_only_a_newer_python_knows_is_named_and_excuses_nothing() -> None:
    newer = "syntax :=> to come\n"
    uses = "from a import f\n\n\ndef test_f():\n    assert f() == 1\n"
    edits = [
        Edit("test_a.py", OLD, newer + OLD),
        Edit("test_b.py", newer + OLD, newer),
        Edit("a.py", "def f():\n    return 1\n", f"{newer}def f():\n    return 1\n"),
        Edit("test_c.py", uses, ""),
    ]
    told = survey(edits, {})
    assert [(found["path"], found["how"], found["gone"]) for found in told["weakened"]] == [
        ("test_a.py", "unreadable", False),
        ("test_c.py", "removed", False),
    ]
    assert [(spot["path"], spot["slight"]) for spot in told["unseen"]] == [("test_b.py", True), ("a.py", True)]
    assert "does not know its syntax" in told["unseen"][0]["what"]


@pytest.mark.parametrize(
    ("path", "grave"),
    [
        ("tests/data/a.png", None),
        ("tests/data/latin.txt", None),
        ("web/__snapshots__/a.png", None),
        ("testdata/big.sqlite", None),
        ("tests/fixture.js", False),
        ("tests/data/latin.py", False),
        ("src/FooTest.java", None),
        ("app/a.py", False),
        ("tests/test_a.py", True),
        ("tests/data/test_a.py", True),
        ("tests/helping.py", True),
        ("web/a.test.ts", True),
        ("pyproject.toml", True),
    ],
)
def test_only_what_a_runner_reads_matters_where_it_cannot_be_read(path: str, grave: bool | None) -> None:
    named = [] if grave is None else [path]
    assert [spot["path"] for spot in survey([], {}, unread=[Unread(path)])["unseen"]] == named
    assert judges(path) is bool(grave)
    assert [spot["slight"] for spot in survey([], {}, unread=[Unread(path, gone=True)])["unseen"]] == [True] * len(
        named
    )


def test_sources_in_which_tests_are_found_are_known_wherever_it_is_asked() -> None:
    found = {"it('a', f)", "func TestA(", "#[test]\nfn a("}
    for suffix in FOREIGN:
        assert any(find_tests(f"a{suffix}", source) for source in found), suffix


def test_a_picture_is_nothing_and_a_test_that_is_none_is_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")
    (tmp_path / "tests" / "data").mkdir(parents=True)
    (tmp_path / "tests" / "data" / "old.bin").write_bytes(b"\0")
    (tmp_path / "tests" / "test_old.py").write_bytes(b"\0")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "a")):
        subprocess.run((*git, *words), check=True)
    (tmp_path / "tests" / "data" / "a.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "tests" / "data" / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "tests" / "test_new.py").write_bytes(b"\0")
    files = [
        *[(path, path, "A") for path in ("tests/data/a.png", "tests/data/latin.txt", "tests/test_new.py")],
        *[(path, path, "D") for path in ("tests/data/old.bin", "tests/test_old.py")],
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"base": "HEAD", "files": files})))
    main()
    found = json.loads(capsys.readouterr().out)["unseen"]
    assert [(spot["path"], spot["slight"]) for spot in found] == [
        ("tests/test_new.py", False),
        ("tests/test_old.py", True),
    ]


@pytest.mark.parametrize(
    ("data", "python", "says"),
    [
        (b"# coding: latin-1\nx = '\xe9'\n", True, "# coding: latin-1\nx = 'é'\n"),
        ("x = 'é'\n".encode(), True, "x = 'é'\n"),
        ("x = 1\n".encode("utf-8-sig"), True, "x = 1\n"),
        (b"x = '\xe9'\n", True, None),
        (b"# coding: rot13\nk = 1\n", True, None),
        (b"# coding: nothing\nx = 1\n", True, None),
        (b"# coding: latin-1\nx = '\xe9'\n", False, None),
        (b"a\0b", True, None),
        (b"#" * 400_001, True, None),
    ],
)
def test_python_says_how_it_is_encoded(data: bytes, python: bool, says: str | None) -> None:
    assert text_of(data, python=python) == says


# --- abstraction ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def a(x, *y, k, **z):\n    'doc'\n    return b(x, *y, k=k, **z)\n", "`a` only forwards its arguments to `b`"),
        ("import c\nasync def a(x):\n    return await c.d(x)\n", "`a` only forwards its arguments to `c.d`"),
        ("C = thing()\ndef a(x):\n    return C.d(x)\n", ""),
        ("class A(type(B), ABCMeta):\n    pass\n", ""),
        ("class A(Protocol):\n    def m(self): ...\n", ""),
        ("class A(metaclass=ABCMeta):\n    pass\n", "no implementation"),
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


# --- what holds for all tests -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("import unittest\nunittest.TestCase.assertEqual = print\n", [("patches", "unittest.TestCase.assertEqual")]),
        ("def f():\n    TestCase.assertTrue: int = 1\n", [("patches", "TestCase.assertTrue")]),
        ("setattr(unittest.TestCase, 'run', None)\n", [("patches", "unittest.TestCase.run")]),
        ("pytest.raises = a = b\n", [("patches", "pytest.raises")]),
        (
            "def pytest_collection_modifyitems(items):\n    items.clear()\n",
            [("hooks", "pytest_collection_modifyitems")],
        ),
        ("class P:\n    async def pytest_runtest_makereport(self): ...\n", [("hooks", "pytest_runtest_makereport")]),
        ("import unittest as u\nu.TestCase.assertEqual = print\n", [("patches", "u.TestCase.assertEqual")]),
        ("from unittest import TestCase as Base\nBase.assertTrue = print\n", [("patches", "Base.assertTrue")]),
        ("import unittest\nT = unittest.TestCase\nT.fail = print\n", [("patches", "T.fail")]),
        ("from unittest.case import TestCase\nTestCase.run = print\n", [("patches", "TestCase.run")]),
        ("a = b\nb = a\na.run = 1\nfrom . import case\ncase.run = 1\n", []),
        ("def load_tests(loader, tests, pattern): ...\n", [("hooks", "load_tests")]),
        ("pytest.shared = 1\nself.assertEqual(1, 1)\nx.run = 1\nsetattr(x, y, 1)\nf().run = 2\nsetattr(*a)\n", []),
        ("def pytest_addoption(parser): ...\n", []),
        ("from unittest import mock\ndef test_a(mock):\n    mock.run = 1\n    mock.fail = True\n", []),
        ("from unittest.mock import Mock\nMock.run = 1\n", []),
        ("from unittest import mock\nmock.patch.run = 1\n", []),
        ("from unittest import case\ndef test_a(case, *, b=0):\n    def f(): case.run = 1\n", []),
        ("from unittest import case\ndef test_a():\n    case = make()\n    case.run = 1\n", []),
        ("from unittest import case\ndef f(case): ...\ncase.run = 1\n", [("patches", "case.run")]),
        ("def f():\n    import unittest as u\n    u.TestCase.run = 1\n", [("patches", "u.TestCase.run")]),
        (
            "import unittest\ndef f(unittest=unittest): unittest.TestCase.run = 1\n",
            [("patches", "unittest.TestCase.run")],
        ),
        ("import unittest as u\ndef f(a, u=u): u.TestCase.run = 1\n", [("patches", "u.TestCase.run")]),
        ("import unittest as u\ndef f(*, a, u=u, b=0): u.TestCase.run = 1\n", [("patches", "u.TestCase.run")]),
        (
            "import unittest as u\ndef f():\n    global u\n    u = u\n    u.TestCase.run = 1\n",
            [("patches", "u.TestCase.run")],
        ),
        ("import unittest as u\nu = u\nu.TestCase.run = 1\n", [("patches", "u.TestCase.run")]),
        ("import unittest as u\nu.TestCase.run = 1\ndef f():\n    u = a.b\n", [("patches", "u.TestCase.run")]),
        ("from a import TestCase\nTestCase.run = 1\n", []),
        ("import unittest as u\ndef f(u, a=u): u.TestCase.run = 1\n", []),
        ("import unittest as u\ndef f(u=None): u.TestCase.run = 1\n", []),
        ("not python", []),
    ],
)
def test_what_steers_all_tests(new: str, says: list[tuple[str, str]]) -> None:
    assert list(steers("", new)) == says
    assert list(steers(new, f"{new}\nmore = 1\n" if says else new)) == []


SUITE = """\
import unittest
import calc


class TestIt(unittest.TestCase):
    def test_add(self):
        self.assertEqual(calc.add(1, 2), 3)
"""
NEW_TEST = "    def test_new(self):\n        self.assertTrue(calc)\n"


@pytest.mark.parametrize(
    ("new", "named"),
    [
        (f"{SUITE}\n\nTestIt.assertEqual = print\n", True),
        (SUITE.replace("    def test_add", "    assertEqual = print\n\n    def test_add"), True),
        (SUITE.replace("    def test_add", "    def assertEqual(self, *a): ...\n\n    def test_add"), True),
        (SUITE.replace("    def test_add", "    def setUp(self):\n        calc.add = max\n\n    def test_add"), True),
        (SUITE.replace("    def test_add", "    def run(self, result=None): ...\n\n    def test_add"), True),
        (SUITE.replace("import calc\n", "import calc\n\ncalc.add = lambda a, b: 3\n"), True),
        (SUITE.replace("(unittest.TestCase)", "(Base)").replace("\n\nclass", "class Base: ...\n\n\nclass"), True),
        (f"{SUITE}\n\nTestIt.test_add = lambda self: None\n", True),
        (SUITE.replace("class TestIt", "@changed\nclass TestIt"), True),
        # Only found out by running.
        (SUITE.replace("import calc", "import evil\nimport calc"), False),
        (f"{SUITE}\n\ndef load_tests(loader, tests, pattern): ...\n", False),
        # Nothing.
        (SUITE, None),
        (SUITE + NEW_TEST, None),
        (f"{SUITE}\n\nclass TestMore(unittest.TestCase):\n{NEW_TEST}", None),
        (SUITE.replace("3)", "-1)"), None),  # edited: that is told elsewhere
        (SUITE.replace("import calc\n", "import calc  # of ours\n"), None),
        ("", None),
    ],
)
def test_what_stands_around_tests(new: str, named: bool | None) -> None:
    told = survey([Edit("test_calc.py", SUITE, new)], {"test_calc.py": new, "test_more.py": SUITE})
    names = [(test["path"], test["name"]) for test in told["around"]]
    assert names == ([] if named is None else [("test_calc.py", "TestIt::test_add")])
    assert ("around" in {found["how"] for found in told["weakened"]}) == bool(named)


def test_what_has_no_tests_stands_around_those_below() -> None:
    sources = {"tests/unit/test_a.py": SUITE, "tests/b/test_b.py": SUITE, "test_c.py": SUITE, "app.py": "x = 1\n"}
    for path, old in (("tests/unit/conftest.py", ""), ("tests/unit/support.py", "x = 1\n")):
        told = survey([Edit(path, old, "x = 2\n")], {**sources, path: "x = 2\n"})
        assert [test["path"] for test in told["around"]] == ["tests/unit/test_a.py"]
        assert [found["how"] for found in told["weakened"]] == (["around"] if old else [])
    told = survey([Edit("conftest.py", "", "x = 2\n")], sources)
    assert len(told["around"]) == 3
    assert survey([Edit("app.py", "x = 0\n", "x = 1\n")], sources)["around"] == []


TOML, INI = "[tool.pytest.ini_options]\n", "[pytest]\n"


@pytest.mark.parametrize(
    ("path", "new", "says"),
    [
        (
            "pytest.ini",
            f"{INI}addopts = -q --deselect tests/test_a.py::test_a\n",
            ["--deselect tests/test_a.py::test_a"],
        ),
        ("pytest.ini", f"{INI}addopts =\n    -q\n    --deselect=a.py::b\n", ["--deselect a.py::b"]),
        ("setup.cfg", "[tool:pytest]\naddopts = -k 'not slow'\n", ["-k not slow"]),
        ("tox.ini", f"[tox]\nx = 1\n{INI}addopts = --co\n[testenv]\naddopts = -k x\n", ["--co"]),
        (
            "pyproject.toml",
            f'{TOML}addopts = ["-q", "--ignore=tests/a", "-m", "not slow"]\n',
            ["--ignore tests/a", "-m not slow"],
        ),
        ("pyproject.toml", f"{TOML}addopts = \"-q --deselect 'a.py::b'\"\n[tool.x]\n", ["--deselect a.py::b"]),
        ("pyproject.toml", f'{TOML}addopts = "-p no:python -p no:cacheprovider"\n', ["-p no:python"]),
        ("pyproject.toml", f'{TOML}addopts = "-ra --import-mode=importlib --cov -p xdist"\nmarkers = ["-k x"]\n', []),
        ("pyproject.toml", "[tool.other]\naddopts = '-k x'\ntestpaths = 'a'\n", []),
        ("pytest.ini", f"{INI}addopts = -p evil -p no:warnings\n", ["-p evil"]),
        ("pytest.ini", f"{INI}python_files = nothing_*.py\n", ["python_files = nothing_*.py"]),
        (
            "pyproject.toml",
            f"{TOML}testpaths = [\n    'one',\n]\npython_functions = 'x_*'\nminversion = '7'\n",
            ["testpaths = [ 'one', ]", "python_functions = 'x_*'"],
        ),
        ("pytest.ini", f"{INI}# addopts = -k x\naddopts = -q\n", ["pytest.ini"]),
        ("sub/.pytest.ini", "[other]\n", [".pytest.ini"]),
        ("notes.ini", f"{INI}addopts = -k x\n", []),
    ],
)
def test_options_that_leave_out_tests(path: str, new: str, says: list[str]) -> None:
    assert [name for _, name in narrows(path, "", new)] == says
    assert list(narrows(path, new, f"{new}\n# more\n")) == []


@pytest.mark.parametrize(
    ("path", "old", "new", "says"),
    [
        ("pytest.ini", f"{INI}python_files = check_*.py\n", f"{INI}addopts = -q\n", ["python_files (no longer set)"]),
        ("setup.cfg", "[tool:pytest]\ntestpaths = tests more\n", "", ["testpaths (no longer set)"]),
        ("pyproject.toml", f"{TOML}python_functions = 'a_*'\n", "[x]\n", ["python_functions (no longer set)"]),
        ("pyproject.toml", f"{TOML}testpaths = 'a'\n", f"{TOML}testpaths = 'b'\n", ["testpaths = 'b'"]),
        ("pytest.ini", f"{INI}addopts = -q\n", f"{INI}", []),
    ],
)
def test_what_says_no_more_which_files_are_tests(path: str, old: str, new: str, says: list[str]) -> None:
    assert [name for _, name in narrows(path, old, new)] == says


def test_options_that_leave_out_single_tests_are_grave() -> None:
    new = f"{INI}addopts = --deselect a.py::b --ignore=docs\n"
    found = survey([Edit("pytest.ini", f"{INI}addopts = -q\n", new)], {})["weakened"]
    assert [item["how"] for item in found] == ["deselects", "narrows"]


def test_whatever_steers_is_told_of_every_file() -> None:
    patch = "import unittest\nunittest.TestCase.assertEqual = print\n"
    told = survey([Edit("a.py", "", patch), Edit("conftest.py", "", "def pytest_runtestloop(): ...\n")], {})
    assert [(found["path"], found["how"]) for found in told["weakened"]] == [
        ("a.py", "patches"),
        ("conftest.py", "hooks"),
    ]
