"""What the careful merge promises, whatever two sides did: nothing that both keep is lost, nothing that one added is
lost or doubled, nothing that one took out is back, and it does not matter which side is which.

Every statement, entry and comment made here holds a word of its own, so that words can be counted.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from search_kit import at_least

from quarterdeck.merge.lint import objections
from quarterdeck.merge.listing import merge_listing
from quarterdeck.merge.python_merge import merge_python
from quarterdeck.merge.python_tree import compiles, logical
from quarterdeck.merge.values import Lost, Resolved, Sides, Way
from quarterdeck.merge.ways import resolve

WORD = re.compile(r"w\d+")


@dataclass(frozen=True)
class Code:
    """A piece of Python: a header with entries, and pieces below it."""

    kind: str
    word: int
    entries: tuple[int, ...] = ()
    body: "tuple[Code, ...]" = ()

    def lines(self, indent: str) -> list[str]:
        here, deeper = f"w{self.word}", f"{indent}    "
        entries = ", ".join(f"w{entry}" for entry in self.entries)
        below = [line for inner in self.body for line in inner.lines(deeper)] or [f"{deeper}pass\n"]
        match self.kind:
            case "call":
                return [f"{indent}call({here})\n"]
            case "remark":
                return [f"{indent}# about {here}\n", f"{indent}noted({here})\n"]
            case "import":
                return [f"{indent}from {here} import {entries or 'x'}\n"]
            case "list":
                return [f"{indent}{here} = [{', '.join(repr(f'w{entry}') for entry in self.entries)}]\n"]
            case "def":
                return [f"{indent}def {here}({entries}):\n", *below]
            case "class":
                return [f"{indent}class {here}({entries}):\n", *below]
            case "if":
                return [f"{indent}if {here}:\n", *below, f"{indent}else:\n", f"{deeper}pass\n"]
            case _:
                return [f"{indent}with {here}:\n", *below]


KINDS = ("call", "call", "remark", "import", "list", "def", "class", "if", "with")
PARTS = ("def", "class", "if", "with")


@dataclass
class Maker:
    """Draws pieces and changes of them; each word is new."""

    draw: Callable[[st.SearchStrategy[int]], int]
    words: int = 0
    more: list[int] = field(default_factory=list)

    def number(self, most: int) -> int:
        return self.draw(st.integers(0, most))

    def word(self) -> int:
        self.words += 1
        return self.words

    def piece(self, depth: int) -> Code:
        kind = KINDS[self.number(len(KINDS) - 1 if depth else 4)]
        entries = (
            tuple(self.word() for _ in range(self.number(3))) if kind in ("import", "list", "def", "class") else ()
        )
        body = self.pieces(depth - 1) if kind in PARTS else ()
        return Code(kind, self.word(), entries, body)

    def pieces(self, depth: int) -> tuple[Code, ...]:
        return tuple(self.piece(depth) for _ in range(self.number(4)))

    def changed(self, body: tuple[Code, ...], depth: int) -> tuple[Code, ...]:
        """The pieces with one change somewhere."""
        what = self.number(6)
        at = self.number(len(body) - 1) if body else 0
        if not body or what == 0:
            return (*body[:at], self.piece(depth), *body[at:])
        piece = body[at]
        match what:
            case 1:
                return (*body[:at], *body[at + 1 :])
            case 2:
                to = self.number(len(body) - 1)
                rest = [*body[:at], *body[at + 1 :]]
                return (*rest[:to], piece, *rest[to:])
            case 3:
                until = at + self.number(2) + 1
                wrapped = Code("with", self.word(), (), body[at:until])
                return (*body[:at], wrapped, *body[until:])
            case 4 if piece.entries:
                drop = self.number(len(piece.entries) - 1)
                kept = (*piece.entries[:drop], *piece.entries[drop + 1 :])
                piece = replace(piece, entries=kept)
            case 5 if piece.kind in PARTS:
                piece = replace(piece, body=self.changed(piece.body, depth - 1 if depth else 0))
            case _ if piece.kind in ("import", "list", "def", "class"):
                to = self.number(len(piece.entries))
                piece = replace(piece, entries=(*piece.entries[:to], self.word(), *piece.entries[to:]))
            case _:
                piece = replace(piece, word=self.word())
        return (*body[:at], piece, *body[at + 1 :])


def spelled(pieces: tuple[Code, ...]) -> str:
    return "".join(line for piece in pieces for line in piece.lines(""))


@st.composite
def sides(draw: Callable[[st.SearchStrategy[int]], int], shared: int = 0) -> Sides:
    """`shared`: how many changes both sides may have made alike, before each made its own."""
    maker = Maker(draw)
    base = maker.pieces(2)
    begun = base
    for _ in range(draw(st.integers(0, shared))):
        begun = maker.changed(begun, 2)
    changed = [begun, begun]
    for which in (0, 1):
        for _ in range(draw(st.integers(1, 3))):
            changed[which] = maker.changed(changed[which], 2)
    return Sides("a.py", spelled(base), spelled(changed[0]), spelled(changed[1]))


def counted(merge: Callable[[Sides], Resolved | Lost], given: Sides) -> str | None:
    """The merged text that may count; None = there is none."""
    found = merge(given)
    if isinstance(found, Lost) or objections(given, found.text):
        return None
    return found.text


def careful(given: Sides) -> Resolved | Lost:
    return resolve(Way.ENTITY, given)


@given(given=sides())
@at_least(100)
def test_words_are_there_as_often_as_both_sides_want(given: Sides) -> None:
    merged = counted(careful, given)
    if merged is None:
        return
    base, ours, theirs, made = (
        Counter(WORD.findall(text or "")) for text in (given.base, given.ours, given.theirs, merged)
    )
    for word in {*base, *ours, *theirs}:
        wanted = ours[word] + theirs[word] - base[word]
        if ours[word] != base[word] != theirs[word]:
            assert made[word] <= max(ours[word], theirs[word]), (word, merged)
        elif wanted < base[word] and said(given.ours, word) != said(given.base, word) != said(given.theirs, word):
            # One side changed it and put it elsewhere in one go: to the other, which took it out, that is a new line.
            assert made[word] <= base[word], (word, merged)
        else:
            assert made[word] == wanted, (word, merged)


def said(text: str | None, word: str) -> list[str]:
    """The lines with a word, wherever they stand."""
    return sorted(line.strip() for line in (text or "").splitlines() if word in WORD.findall(line))


@given(given=sides(shared=2))
@at_least(40)
def test_what_counts_compiles_where_the_sides_do(given: Sides) -> None:
    for way in (Way.ENTITY, Way.UNION, Way.ENTITY_UNION):
        merged = counted(lambda one, way=way: resolve(way, one), given)  # type: ignore[misc]  # bound now
        if merged is not None and not compiles(given.ours or "") and not compiles(given.theirs or ""):
            assert not compiles(merged)


def lines_of(text: str) -> Counter[tuple[str, ...]]:
    """The logical lines, with the words of a list in any order."""
    return Counter(tuple(sorted(word for word in line.words if word not in ",()")) for line in logical(text)[0])


@given(given=sides(shared=2))
@example(  # two headers, either of which may be the outer one
    given=Sides(
        "a.py",
        "call(w1)\nfrom w2 import x\ncall(w3)\ncall(w4)\n",
        "with w5:\n    call(w1)\n    from w2 import x\ncall(w3)\ncall(w4)\n",
        "with w6:\n    call(w4)\n    from w2 import x\n    call(w1)\ncall(w3)\n",
    )
)
@example(  # an `if` that has become another one is no block below a new header
    given=Sides(
        "a.py",
        "if w1:\n    if w2:\n        pass\n        pass\n",
        "with w3:\n    if w4:\n        if w2:\n            pass\n",
        "if w1:\n    if w2:\n        pass\n",
    )
)
@example(
    given=Sides(
        "a.py",
        "class w1(w2, w3):\n    pass\n",
        "with w4:\n    class w1(w3):\n        pass\n",
        "with w5:\n    class w1(w2, w3):\n        pass\n",
    )
)
@at_least(120)
def test_it_does_not_matter_which_side_is_which(given: Sides) -> None:
    one = careful(given)
    other = careful(replace(given, ours=given.theirs, theirs=given.ours))
    assert isinstance(one, Resolved) == isinstance(other, Resolved), (one, other)
    if isinstance(one, Resolved) and isinstance(other, Resolved):
        assert lines_of(one.text) == lines_of(other.text)


@given(given=sides())
@at_least(100)
def test_a_side_that_did_nothing_gives_the_other_to_the_letter(given: Sides) -> None:
    base, ours = given.base or "", given.ours or ""
    for bold in (False, True):
        assert merge_python(base, base, ours, bold=bold) == Resolved(ours)
        assert merge_python(base, ours, base, bold=bold) == Resolved(ours)
        assert merge_python(base, ours, ours, bold=bold) == Resolved(ours)


ENTRIES = st.lists(st.integers(0, 9), unique=True, max_size=6)
FORMS: dict[str, Callable[[list[int]], str]] = {
    "requirements.txt": lambda words: "".join(f"w{word}\n" for word in words),
    ".gitignore": lambda words: "".join(f"/w{word}\n" for word in words),
    "CHANGES.md": lambda words: "# Changes\n\n" + "".join(f"- w{word}\n  more of it, as of others\n" for word in words),
    "a.toml": lambda words: "[a]\n" + "".join(f"w{word} = {word}\n" for word in words),
    "a.ini": lambda words: "[a]\n" + "".join(f"\n[w{word}]\nx = 1\n" for word in words),
    "a.json": lambda words: "{" + ", ".join(f'"w{word}": 1' for word in words) + "}\n",
    "b.toml": lambda words: "a = [\n" + "".join(f'  "w{word}",\n' for word in words) + "]\n",
}


@pytest.mark.parametrize("path", FORMS)
@given(base=ENTRIES, ours=ENTRIES, theirs=ENTRIES)
@at_least(40)
def test_lists_hold_what_both_sides_want(path: str, base: list[int], ours: list[int], theirs: list[int]) -> None:
    form = FORMS[path]
    given = Sides(path, form(base), form(ours), form(theirs))
    merged = counted(careful, given)
    other = counted(careful, replace(given, ours=given.theirs, theirs=given.ours))
    assert (merged is None) == (other is None)
    if merged is None or other is None:
        return
    wanted = {word for word in {*base, *ours, *theirs} if (word in ours) + (word in theirs) - (word in base) > 0}
    added_by_both = {f"w{word}" for word in {*ours} & {*theirs} - {*base}}
    for text in (merged, other):
        found = Counter(WORD.findall(text))
        assert set(found) == {f"w{word}" for word in wanted}
        assert all(count == 1 or word in added_by_both for word, count in found.items())


@pytest.mark.parametrize("path", FORMS)
@given(base=ENTRIES, ours=ENTRIES)
@at_least(20)
def test_a_list_that_one_side_left_alone_is_the_other_s(path: str, base: list[int], ours: list[int]) -> None:
    before, after = FORMS[path](base), FORMS[path](ours)
    for sides_ in ((before, before, after), (before, after, before), (before, after, after)):
        assert merge_listing(path, *sides_) == Resolved(after)
