"""What holds for every merge of texts, and for what they define."""

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from search_kit import at_least

from quarterdeck.merge import lines
from quarterdeck.merge.lint import objections
from quarterdeck.merge.naming import entities, touched
from quarterdeck.merge.python_tree import syntax, tree
from quarterdeck.merge.values import ORDER, Entity, Lost, Resolved, Sides, Way
from quarterdeck.merge.ways import resolve

CPU_SECONDS = 20.0
"""Far above what any of these takes."""

WAYS = [way for way in Way if way is not Way.DRIVER]
CODE = st.lists(
    st.sampled_from(
        [
            "import a\n",
            "from a import b\n",
            "from a import (\n    b,\n    c,  # why\n)\n",
            "x = [1, 2]\n",
            "x: int = 1\n",
            "f(a, b=1)\n",
            "\n",
            "# remark\n",
            "def f(a, *, b=1):\n    '''text\n\n    more\n    '''\n    return a\n",
            "@a\n# between\n@b(1)\nclass A(B):\n    x = 1\n\n    def m(self):\n        pass\n    # end\n",
            "if a:\n    b()\nelif c:\n    d()\nelse:\n    # nothing\n    pass\n",
            "try:\n    a()\nexcept (A, B) as c:\n    raise\nfinally:\n    d()\n",
            "with a as b: pass\n",
            "while a: b(); c()\n",
            "s = 'a' 'b' \\\n    'c'\n",
            "match a:\n    case 1:\n        b()\n",
        ]
    ),
    max_size=8,
).map("".join)
TEXT = st.text(alphabet="ab:=()[],'\"# \t\n\r\\@", max_size=60)
ANY = CODE | TEXT


@given(text=ANY)
def test_a_tree_spells_its_text(text: str) -> None:
    found = tree(text)
    assert isinstance(found, str) or found.text == text


@given(base=ANY, other=ANY, way=st.sampled_from(WAYS), path=st.sampled_from(["a.py", "a.md", "a.toml", "a.rs"]))
def test_what_one_side_did_alone_is_the_result_to_the_letter(base: str, other: str, way: Way, path: str) -> None:
    assert resolve(way, Sides(path, base, base, other)) == Resolved(other)
    assert resolve(way, Sides(path, base, other, base)) == Resolved(other)
    assert resolve(way, Sides(path, base, other, other)) == Resolved(other)


@given(base=CODE, ours=CODE, theirs=CODE)
@example(
    base="", ours="import a\nimport a\nfrom a import b\n", theirs="import a\nfrom a import b\nimport a\n"
)  # of what stands there twice, either may be the one that has its like
@at_least(150)
def test_what_counts_is_python_and_has_the_same_names_whichever_side_is_ours(base: str, ours: str, theirs: str) -> None:
    sides = Sides("a.py", base, ours, theirs)
    one = resolve(Way.ENTITY, sides)
    other = resolve(Way.ENTITY, Sides("a.py", base, theirs, ours))
    assert isinstance(one, Resolved) == isinstance(other, Resolved)
    if isinstance(one, Resolved) and isinstance(other, Resolved):
        assert not isinstance(syntax(one.text), str)
        assert {found.name for found in entities("a.py", one.text)} == {
            found.name for found in entities("a.py", other.text)
        }
    bold = resolve(Way.ENTITY_UNION, sides)
    assert isinstance(bold, Resolved)
    if not objections(sides, bold.text):
        assert not isinstance(syntax(bold.text), str)


@given(base=TEXT, ours=TEXT, theirs=TEXT, way=st.sampled_from(list(Way)), path=st.sampled_from(["a.py", "a.json", "b"]))
def test_whatever_the_texts_are_nothing_is_raised(base: str, ours: str, theirs: str, way: Way, path: str) -> None:
    for one in (base, None):
        sides = Sides(path, one, ours, theirs)
        found = resolve(way, sides)
        if isinstance(found, Resolved):
            objections(sides, found.text)
        else:
            assert found.reason
    entities(path, ours)
    touched(path, base, ours)


NAMES = ["one", "two", "three", "four", "five"]


@given(picked=st.permutations(range(5)), number=st.integers(1, 4))
def test_changes_of_other_functions_always_merge(picked: list[int], number: int) -> None:
    def text(changed: dict[int, str]) -> str:
        bodies = [changed.get(at, f"return {at}") for at in range(5)]
        return "\n\n".join(f"def {name}(a):\n    {body}\n" for name, body in zip(NAMES, bodies, strict=True))

    mine = {at: f"return {at} + 100" for at in picked[:number]}
    other = {at: f"return {at} + 200" for at in picked[number:]}
    found = resolve(Way.ENTITY, Sides("a.py", text({}), text(mine), text(other)))
    assert found == Resolved(text({**mine, **other}))


@given(
    base=st.lists(st.sampled_from("abcde"), max_size=12),
    ours=st.lists(st.sampled_from("abcde"), max_size=12),
    theirs=st.lists(st.sampled_from("abcde"), max_size=12),
    touching=st.booleans(),
)
def test_pieces_cover_all_three_sides_once(base: list[str], ours: list[str], theirs: list[str], touching: bool) -> None:
    pieces = lines.three(base, ours, theirs, lines.Effort(), touching=touching)
    for side, spans in (
        (base, [piece.base for piece in pieces]),
        (ours, [piece.ours for piece in pieces]),
        (theirs, [piece.theirs for piece in pieces]),
    ):
        assert [item for span in spans for item in side[slice(*span)]] == side
    for piece in pieces:
        b, o, t = base[slice(*piece.base)], ours[slice(*piece.ours)], theirs[slice(*piece.theirs)]
        if piece.who in (lines.Who.NOBODY, lines.Who.OURS):
            assert b == t
        if piece.who in (lines.Who.NOBODY, lines.Who.THEIRS):
            assert b == o
        if piece.who is lines.Who.BOTH:
            assert o == t


@given(one=st.lists(st.sampled_from("abcd"), max_size=14), other=st.lists(st.sampled_from("abcd"), max_size=14))
def test_matches_rise_and_are_equal(one: list[str], other: list[str]) -> None:
    pairs = lines.matches(one, other, lines.Effort())
    assert all(one[first] == other[second] for first, second in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))


HOSTILE = {
    "brackets": "(" * 5_000 + ")" * 5_000,
    "signs": "x = " + "-" * 200_000 + "1\n",
    "a sum": "x = " + "+".join(["1"] * 100_000) + "\n",
    "attributes": "x" + ".y" * 100_000 + "\n",
    "negations": "x = " + "not " * 50_000 + "1\n",
    "lambdas": "x = " + "lambda: " * 50_000 + "1\n",
    "clauses": "if a:\n    b\n" + "elif a:\n    b\n" * 3_000,
    "blocks": "".join(" " * at + "if a:\n" for at in range(90)) + " " * 90 + "b\n",
    "one line again and again": "a()\n" * 3_000,
    "strings": "x = " + "'a' " * 1_500 + "\n",
    "calls": "f(" * 39 + ")" * 39 + "\n",
    "open strings": '"""' * 5_001,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_take_bounded_time_and_raise_nothing(name: str) -> None:
    text = HOSTILE[name]
    began = time.process_time()
    for way in WAYS:
        found = resolve(way, Sides("a.py", text, f"{text}# ours\n", f"# theirs\n{text}"))
        assert isinstance(found, Resolved | Lost)
    objections(Sides("a.py", text, text, text), text)
    entities("a.py", text)
    assert time.process_time() - began < CPU_SECONDS


def test_what_is_too_large_or_no_text_is_lost_with_the_reason() -> None:
    large = "x = 1\n" * 40_000
    found = resolve(Way.ENTITY, Sides("a.py", large, large + "a\n", "b\n" + large))
    assert isinstance(found, Lost)
    assert "30000 lines" in found.reason
    assert resolve(Way.UNION, Sides("a", "a\0", "b", "c")) == Lost("it is no text")
    assert resolve(Way.UNION, Sides("a", "a", None, "c")) == Lost("one side removed it")


def test_line_ends_follow_the_side_that_changed_them() -> None:
    base = "import a\n\nx = 1"
    ours = "import a\r\nimport b\r\n\r\nx = 1\r\n"
    theirs = "import a\nimport c\n\nx = 1"
    found = resolve(Way.ENTITY, Sides("a.py", base, ours, theirs))
    assert isinstance(found, Resolved)
    assert found.text == "import a\r\nimport b\r\nimport c\r\n\r\nx = 1\r\n"


def test_union_keeps_the_lines_of_both_and_says_so() -> None:
    sides = Sides("a.rs", "a\nb\nc\n", "a\nx\nc\n", "a\ny\nc\n")
    assert resolve(Way.GIT, sides) == Lost("both sides changed lines 2 to 2")
    found = resolve(Way.UNION, sides)
    assert isinstance(found, Resolved)
    assert found.text == "a\nx\ny\nc\n"
    assert found.notes


def test_ways_go_from_the_careful_to_the_bold() -> None:
    assert ORDER == (Way.GIT, Way.DRIVER, Way.ENTITY, Way.UNION, Way.ENTITY_UNION)


# --- names ------------------------------------------------------------------------------------------------

SAMPLE = '''\
"""Text."""
import os
from a import b

# about LIST
LIST = ["a"]


# about f
@deco
def f():
    return 1


class C:
    """Doc."""
    x = 1

    def m(self):
        def inner():
            pass
        return inner

    if True:
        def n(self): ...


if a:
    def g():
        pass
'''


def test_entities_of_python() -> None:
    assert entities("a.py", SAMPLE) == (
        Entity("import os", "import", 2, 2),
        Entity("from a", "import", 3, 3),
        Entity("LIST", "list", 5, 6),
        Entity("f", "function", 9, 12),
        Entity("C", "class", 15, 25),
        Entity("C.x", "assignment", 17, 17),
        Entity("C.m", "method", 19, 22),
        Entity("C.n", "method", 25, 25),
        Entity("g", "function", 29, 30),
    )
    assert entities("a.py", "def (") == ()
    assert entities("a.bin", SAMPLE) == ()


def test_a_long_chain_of_conditions_is_read_without_recursion() -> None:
    text = "if a:\n    x = 1\n" + "".join(f"elif a:\n    x{at} = 1\n" for at in range(800))
    assert len(entities("a.py", text)) == 801


def test_names_of_assignments_and_imports() -> None:
    text = "import a.b as c, d\nfrom ..e import f\nx: int = 1\ny |= 2\ny = ü = (\n    1,\n)\nz.w[0] = é = [2]\n"
    found = [(entity.name, entity.kind, entity.first, entity.last) for entity in entities("a.py", text)]
    assert found == [
        ("import a.basc,d", "import", 1, 1),
        ("from ..e", "import", 2, 2),
        ("x", "assignment", 3, 3),
        ("y|=", "assignment", 4, 4),
        ("y", "list", 5, 7),
        ("z.w[0]", "list", 8, 8),
    ]


def test_entities_of_prose_and_settings() -> None:
    assert [entity.name for entity in entities("CHANGES.md", "# A\n\ntext\n\n## B\n- c\n")] == ["A", "B"]
    assert [entity.name for entity in entities("a.rst", "Title\n=====\n\ntext\n\nPart\n----\n")] == ["Title", "Part"]
    assert [entity.name for entity in entities("a.toml", "x = 1\n[a]\ny = 2\n[[b.c]]\n")] == ["a", "b.c"]


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("return inner", "return None", ("C.m",)),
        ("x = 1", "x = 2", ("C.x",)),
        ('"""Doc."""', '"""Other."""', ("C",)),
        ("@deco", "@other", ("f",)),
        ('"""Text."""', '"""Other."""', ("",)),
        ("import os\n", "", ("import os",)),
        ("class C:", "class C(B):", ("C",)),
        ("LIST", "OTHER", ("OTHER", "LIST")),
    ],
)
def test_what_a_change_touches(old: str, new: str, names: tuple[str, ...]) -> None:
    after = SAMPLE.replace(old, new, 1) if old != "LIST" else SAMPLE.replace("LIST =", "OTHER =")
    assert touched("a.py", SAMPLE, after) == names
    assert touched("a.py", SAMPLE, SAMPLE) == ()


# --- objections -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("merged", "word"),
    [
        ("def f():\n    return 1\n\n\ndef f():\n    return 2\n", "definition of f"),
        ("def f():\n    return 1\n    return 2\n", "never reached"),
        ("def f(a, a):\n    pass\n", "parameter a"),
        ("def f(:\n", "does not parse"),
        ("def f():\n    return gone\n", "gone is used"),
        ("x = {'a': 1, 'a': 2}\n", "key 'a'"),
        ("<<<<<<< ours\n", "marks"),
        ("__all__ = ['a']\n__all__ = ['b']\n", "value of __all__"),
    ],
)
def test_what_a_union_may_do_is_objected_to(merged: str, word: str) -> None:
    sides = Sides("a.py", "x = 1\n", "x = 1\n\n\ndef f():\n    return 1\n", "x = 1\n\n\ndef f():\n    return 2\n")
    assert any(word in complaint for complaint in objections(sides, merged))


def test_definitions_that_belong_together_are_no_objection() -> None:
    text = (
        "from typing import overload\n\n\n@overload\ndef f(a: int) -> int: ...\n@overload\ndef f(a: str) -> str: ...\n"
        "def f(a): return a\n\nclass A:\n    @property\n    def x(self): ...\n    @x.setter\n    def x(self, v): ...\n"
        "if f:\n    def g(): ...\nelse:\n    def g(): ...\n"
    )
    assert objections(Sides("a.py", "", "", ""), text) == ()


def test_a_lost_line_is_objected_to() -> None:
    sides = Sides("a.txt", "a\n", "a\nfrom ours\n", "a\nfrom theirs\n")
    assert objections(sides, "a\nfrom ours\nfrom theirs\n") == ()
    assert objections(sides, "a\nfrom theirs\n") == ("the line `from ours` of one side is lost",)
