"""What a test holds against the code, and what became of one in another language than Python."""

import pytest

from quarterdeck.delivery.validation.survey.report import Edit, survey
from quarterdeck.delivery.validation.survey.silence import Silence
from quarterdeck.delivery.validation.survey.tests import weakened

HELD = "def test_a():\n    x = f()\n    assert x == 1\n    assert g(x)\n"


@pytest.mark.parametrize(
    ("new", "how"),
    [
        (HELD.replace("    x =", "    return\n    x ="), "weaker"),
        (HELD.replace("    assert g", "    raise SystemExit\n    assert g"), "weaker"),
        (HELD.replace("    x =", "    if 1:\n        return\n    x ="), "weaker"),
        (HELD.replace("    assert g", "    if False:\n        assert g"), "weaker"),
        (HELD.replace("    assert g", "    if True:\n        pass\n    else:\n        assert g"), "weaker"),
        (HELD.replace("    assert g", "    while 0:\n        assert g"), "weaker"),
        (HELD.replace("g(x)", "g(x) or True"), "weaker"),
        (HELD.replace("    assert g", "    def later():\n        assert g"), "weaker"),
        (HELD.replace("assert g(x)", 'assert (g(x), "says")'), "weaker"),
        (HELD.replace("g(x)", "1 == 1"), "weaker"),
        (HELD.replace("    assert g", "    for _ in []:\n        assert g"), "weaker"),
        (
            HELD.replace("    assert g(x)", "    try:\n        assert g(x)\n    except Exception:\n        pass"),
            "weaker",
        ),
        (HELD.replace("    assert g(x)", "    try:\n        assert g(x)\n    except:\n        return None"), "weaker"),
        (HELD.replace("    assert g", "    with suppress(ValueError, AssertionError):\n        assert g"), "weaker"),
        (f"@pytest.mark.parametrize('a', [])\n{HELD}", "skipped"),
        (f"@pytest.mark.parametrize('a', [1])\n{HELD}", "edited"),
        (HELD.replace("    assert g", "    with suppress(OSError):\n        assert g"), "edited"),
        (HELD.replace("    assert g(x)", "    try:\n        assert g(x)\n    except E:\n        pass"), "edited"),
        (
            HELD.replace("    assert g(x)", "    try:\n        assert g(x)\n    except Exception:\n        raise E"),
            "edited",
        ),
        (HELD.replace("    assert g", "    if x:\n        return\n    assert g"), "edited"),
        (HELD.replace("    assert g", "    def now():\n        assert g") + "    now()\n", "edited"),
        (HELD.replace("    assert g", "    @hook\n    def now():\n        assert g"), "edited"),
        (HELD.replace("    assert g", "    class Fake:\n        def do(self):\n            assert g"), "edited"),
        (HELD.replace("    assert g", "    with raises(E):\n        raise E\n    assert g"), "edited"),
        (HELD.replace("    assert g", "    for _ in y:\n        continue\n    assert g"), "edited"),
    ],
)
def test_what_is_never_run_holds_nothing(new: str, how: str) -> None:
    (found,) = weakened([("test_a.py", HELD, new)], set())
    assert (found.name, found.how) == ("test_a", how)
    assert not list(weakened([("test_a.py", new, new)], set()))


SCRIPT = """\
describe('calc', () => {
  it('adds', async () => {
    const x = await add(1, 2) // ")}"
    expect(x).toBe(3)
    expect(x).toMatchObject({ a: [`)`] })
  })
  it('says', () => { expect(say()).toBe('a') })
})
"""
GO = 'func TestAdd(t *testing.T) {\n\tif got := Add(1, 2); got != 3 {\n\t\tt.Errorf("%d }", got)\n\t}\n\tlog()\n}\n'
COMMENTED = "  /* it('says', () => { expect(say()).toBe('a') }) */"
RUST = "#[test]\nfn adds() -> Result<(), E> {\n    let x = add(1, 2)?;\n    assert_eq!(x, 3);\n    Ok(())\n}\n"


@pytest.mark.parametrize(
    ("path", "old", "cut", "put", "says"),
    [
        ("a.test.js", SCRIPT, "    expect(x).toBe(3)\n", "", [("adds", "weaker")]),
        ("a.test.js", SCRIPT, "expect(say()).toBe('a')", "", [("says", "weaker")]),
        ("a.test.js", SCRIPT, "    expect(x).toBe(3)\n", "    // expect(x).toBe(3)\n", [("adds", "weaker")]),
        ("a.test.js", SCRIPT, "toBe(3)", "toBe(4)", [("adds", "edited")]),
        ("a.test.js", SCRIPT, "    const x", "    return\n    const x", [("adds", "edited")]),
        ("a.test.js", SCRIPT, "    expect(x).toBe(3)\n", "    checked(x)\n", [("adds", "edited")]),
        ("a.test.js", SCRIPT, "{ expect(say())", "{\n    expect( say())", []),
        ("a.test.js", SCRIPT, "  it('says'", "  it('new', () => { expect(1).toBe(n()) })\n  it('says'", []),
        ("a.test.js", SCRIPT, "'a') })\n", "'a') })\n  it('new', () => { expect(1).toBe(n()) })\n", []),
        ("a.test.js", SCRIPT, "'a') })\n", "'a') })\n  describe('b', () => { it('adds', () => { f() }) })\n", []),
        (
            "a_test.go",
            GO,
            '\tif got := Add(1, 2); got != 3 {\n\t\tt.Errorf("%d }", got)\n\t}\n',
            "",
            [("TestAdd", "weaker")],
        ),
        ("a_test.go", GO, "got != 3", "got != 4", [("TestAdd", "edited")]),
        ("a_test.go", GO, "\tlog()\n", "", [("TestAdd", "edited")]),
        ("tests/a.rs", RUST, "    assert_eq!(x, 3);\n", "", [("adds", "weaker")]),
        ("tests/a.rs", RUST, "(x, 3)", "(x, 4)", [("adds", "edited")]),
        ("tests/a.rs", RUST, "    let x", "\tlet x", []),
    ],
)
def test_what_became_of_a_test_in_another_language(
    path: str, old: str, cut: str, put: str, says: list[tuple[str, str]]
) -> None:
    assert cut in old
    new = old.replace(cut, put)
    assert [(found.name, found.how) for found in weakened([(path, old, new)], set())] == says
    brought = [test["name"] for test in survey([Edit(path, old, new)], {})["tests"] if not test["new"]]
    assert brought == [name for name, _ in says]


@pytest.mark.parametrize(
    ("path", "old", "cut", "put", "says"),
    [
        # Another name, and otherwise the same, or mostly.
        ("a.test.js", SCRIPT, "it('adds'", "it('adds two'", []),
        ("a_test.go", GO, "TestAdd", "TestSum", []),
        ("tests/a.rs", RUST, "adds", "sums", []),
        (
            "a.test.js",
            SCRIPT,
            "it('adds', async () => {\n",
            "it('adds two', async () => {\n    f()\n",
            [("adds", "edited")],
        ),
        ("a.test.js", SCRIPT, "it('says', () => { expect(say()).toBe('a') })", "", [("says", "removed")]),
        # One that is skipped is not one that is gone.
        ("a.test.js", SCRIPT, "it('adds'", "it.skip('adds'", [("adds", "skipped")]),
        ("a.test.js", SCRIPT, "it('adds'", "xit('adds'", [("adds", "skipped")]),
        ("a.test.js", SCRIPT, "it('adds'", "it.skip('other'", [("adds", "skipped")]),
        ("a.test.js", SCRIPT, "it('adds'", "it.skipIf(old())('adds'", [("adds", "skipped elsewhere")]),
        ("a.test.js", SCRIPT, "    const x", "    this.skip()\n    const x", [("adds", "skipped")]),
        ("a.test.js", SCRIPT, "    const x", "    if (y) this.skip()\n    const x", [("adds", "skipped elsewhere")]),
        ("a.test.js", SCRIPT, "describe('calc'", "describe.skip('calc'", [("", "skipped")]),
        (
            "a.test.js",
            SCRIPT,
            "describe('calc'",
            "const d = x ? describe : describe.skip\nd('calc'",
            [("", "skipped elsewhere")],
        ),
        ("a.test.js", SCRIPT, "it('adds'", "it.only('adds'", [("adds", "edited"), ("", "skipped")]),
        ("a.test.js", SCRIPT, "it('adds'", "it.only('new', f)\n  it('adds'", [("", "skipped")]),
        ("a.test.js", SCRIPT, "describe('calc'", "describe.only('calc'", [("", "skipped")]),
        ("a.test.js", SCRIPT, "describe('calc'", "fdescribe('calc'", [("", "skipped")]),
        ("a.test.js", SCRIPT, "describe('calc'", "fit(curve)\ndescribe('calc'", []),
        # What stands in a comment is gone; what only looks like one in a text is none.
        ("a.test.js", SCRIPT, "  it('says'", "  // it('says'", [("says", "removed")]),
        ("a.test.js", SCRIPT, "  it('says', () => { expect(say()).toBe('a') })", COMMENTED, [("says", "removed")]),
        ("a.test.js", SCRIPT, "  it('says'", "  f('a /* b'); g('src/**/*.js')\n  it('says'", []),
        ("a.test.js", SCRIPT, "describe('calc'", "/** it('x', f) */\ndescribe('calc'", []),
        ("a_test.go", GO, "func", "/*\nfunc", [("TestAdd", "removed")]),
        ("tests/a.rs", RUST, "#[test]", "fn f() {} /*\n#[test]", [("adds", "removed")]),
        ("a_test.go", GO, "\tif got", "\tt.Skip()\n\tif got", [("TestAdd", "skipped")]),
        ("a_test.go", GO, "\tif got", "\tif !false { t.SkipNow() }\n\tif got", [("TestAdd", "skipped")]),
        (
            "a_test.go",
            GO,
            "\tif got",
            "\tif short() {\n\t\tt.Skip()\n\t}\n\tif got",
            [("TestAdd", "skipped elsewhere")],
        ),
        ("tests/a.rs", RUST, "#[test]\n", "#[test]\n#[ignore]\n", [("adds", "skipped")]),
        ("tests/a.rs", RUST, "#[test]\n", '#[ignore = "slow"]\n#[test]\n', [("adds", "skipped")]),
        ("tests/a.rs", RUST, "#[test]\n", "#[test]\n#[cfg_attr(windows, ignore)]\n", [("adds", "skipped elsewhere")]),
        # What is new and skipped takes nothing away from what was there.
        ("a.test.js", SCRIPT, "  it('says'", "  it.todo('new')\n  it('says'", []),
        ("a_test.go", GO, "func TestAdd", "func TestNew(t *testing.T) {\n\tt.Skip()\n}\n\nfunc TestAdd", []),
        ("tests/a.rs", RUST, "#[test]\n", "#[test]\n#[ignore]\nfn new() {}\n\n#[test]\n", []),
    ],
)
def test_another_name_is_not_the_end_of_a_test_and_a_mark_is(
    path: str, old: str, cut: str, put: str, says: list[tuple[str, str]]
) -> None:
    assert cut in old
    new = old.replace(cut, put)
    assert [(found.name, found.how) for found in weakened([(path, old, new)], set())] == says
    assert not list(weakened([(path, new, new)], set()))


SKIPS = "import pytest\n\n\n@pytest.mark.skip\nclass TestB:\n    def test_a(self):\n        assert f()\n"


def test_a_test_that_moved_to_where_all_is_skipped_is_skipped() -> None:
    old = SKIPS.replace("@pytest.mark.skip\n", "").replace("TestB", "TestA")
    assert [found.how for found in weakened([("test_a.py", old, SKIPS)], set())] == ["skipped"]
    assert [found.how for found in weakened([("test_a.py", old, ""), ("test_b.py", "", SKIPS)], set())] == ["skipped"]
    whole = f"import pytest\npytestmark = pytest.mark.skip\n{old}"
    assert [found.how for found in weakened([("test_a.py", old, ""), ("test_b.py", "", whole)], set())] == ["skipped"]
    assert not list(weakened([("test_a.py", SKIPS, old)], set()))


def test_what_is_still_to_be_written_is_no_test() -> None:
    new = SCRIPT.replace("  it('says'", "  it.todo('new')\n  it('says'")
    assert not survey([Edit("a.test.js", SCRIPT, new)], {})["tests"]


def test_a_folder_of_tests_is_where_jest_looks_for_them() -> None:
    assert not list(weakened([("src/a.test.js", SCRIPT, ""), ("src/__tests__/a.js", "", SCRIPT)], set()))
    assert list(weakened([("src/a.test.js", SCRIPT, ""), ("src/a.js", "", SCRIPT)], set()))


@pytest.mark.parametrize(
    ("path", "new"),
    [("test_new.py", SKIPS), ("test_new.py", f"pytestmark = skip\n{SKIPS}"), ("a.test.js", "xit('a', f)")],
)
def test_of_a_new_file_nothing_that_was_there_is_skipped(path: str, new: str) -> None:
    found = survey([Edit(path, "", new)], {})
    assert not found["weakened"]
    assert [test["silence"] for test in found["tests"]] == [Silence.ALWAYS]


BESIDE = f"pub fn add(a: i32) -> i32 {{ a }}\n\n#[cfg(test)]\nmod tests {{\n    fn made() {{}}\n\n{RUST}}}\n"


@pytest.mark.parametrize(
    ("cut", "put", "says"),
    [
        ("    assert_eq!(x, 3);\n", "", [("adds", "weaker", False)]),
        ("#[test]", "#[test]\n#[ignore]", [("adds", "skipped", False)]),
        (BESIDE[BESIDE.index("#[cfg") :], "", [("adds", "removed", False)]),
        (BESIDE, "", [("adds", "removed", True)]),  # with what it tested
        (f"    fn made() {{}}\n\n{RUST}", "", [("adds", "removed", False)]),  # `made` is no code
        ("{ a }", "{ a + 0 }", []),
    ],
)
def test_tests_of_rust_are_held_beside_the_code_too(cut: str, put: str, says: list[tuple[str, str, bool]]) -> None:
    new = BESIDE.replace(cut, put)
    assert new != BESIDE
    found = survey([Edit("src/lib.rs", BESIDE, new), Edit("src/main.rs", "", "fn main() {}\n")], {})
    assert [(spot["name"], spot["how"], spot["gone"]) for spot in found["weakened"]] == says
    assert found["tests"] == [], "they cannot be tried without the code that they stand in"


def test_tests_of_rust_may_move_out_of_the_code() -> None:
    edits = [
        Edit("src/lib.rs", BESIDE, BESIDE.replace(RUST, "")),
        Edit("tests/a.rs", "", f"use it::add;\n{RUST}"),
    ]
    assert survey(edits, {})["weakened"] == []


@pytest.mark.parametrize(
    ("path", "old", "new", "named"),
    [
        ("src/test/java/AddTest.java", "class AddTest { @Test void adds() {} }", "class AddTest { }", True),
        ("src/test/java/AddTest.java", "class AddTest { @Test void adds() {} }", "", True),
        ("spec/add_spec.rb", "it 'adds' do end", "xit 'adds' do end", True),
        ("src/test/java/AddTest.java", "", "class AddTest { @Test void adds() {} }", False),
        ("src/main/java/Add.java", "class Add { }", "class Add { int a; }", False),
        ("tests/data/answer.xml", "<a/>", "<b/>", False),
    ],
)
def test_tests_in_a_language_that_is_not_read_are_named(path: str, old: str, new: str, named: bool) -> None:
    found = survey([Edit(path, old, new)], {})
    assert [spot["path"] for spot in found["unseen"]] == [path] * named
    assert all(spot["slight"] for spot in found["unseen"]), "nobody is sent back for a language"
    assert found["weakened"] == []
