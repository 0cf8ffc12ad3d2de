"""Three Python texts put together by their statements.

Rules
- Statements are merged one by one; a statement that one side alone touched is that side's, to the letter.
- What both sides added at one place stands in the order ours, theirs; what ends a block (`return`, `raise`) stays last.
- The same name added by both with another meaning, the same words changed by both, and what one took out or replaced
  while the other changed, replaced or moved it are clashes. A bold merge puts those one after the other; otherwise they
  are reasons to give up.
- In a function a bold merge takes theirs first: where the order matters, one of the two merges has the right one.
- A block that one side put below a new header (`with`, `try`, `if`) keeps the other side's changes, moved with it.
  Below one header that both gave it, it is one block; below two, nobody said which is the outer one: a clash.
- Nothing is returned that does not compile where the sides do. A careful merge is counted at the end: every line is
  there as often as both sides want it to be, or the merge is given up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.merge.accounts import discrepancies
from quarterdeck.merge.additions import (
    Placed,
    clause_keys,
    clauses_in_turn,
    crossed,
    is_last,
    is_typing,
    known,
)
from quarterdeck.merge.apart import half_below, set_apart
from quarterdeck.merge.line_merge import Clash, code_lines, remarks
from quarterdeck.merge.lines import Effort, Who, matches, three
from quarterdeck.merge.pairing import Layout, lay_out
from quarterdeck.merge.python_tree import Line, Module, Part, Statement, compiles, tree
from quarterdeck.merge.values import Lost, Resolved
from quarterdeck.merge.wording import Hand, merge_words
from quarterdeck.merge.wrapping import Wrapped, are_rivals, unwrapped, wrapped_alike

_NOTES: Final = 20

Trio = tuple[Sequence[Statement], Sequence[Statement], Sequence[Statement]]


@dataclass(slots=True)
class _Making:
    """A merge at work."""

    effort: Effort
    bold: bool
    notes: dict[str, None] = field(default_factory=dict)
    clashes: dict[str, None] = field(default_factory=dict)

    @property
    def hand(self) -> Hand:
        return Hand(self.effort, self.bold)

    def clash(self, where: str, reason: str) -> None:
        told = self.notes if self.bold else self.clashes
        told[f"{where or 'the module'}: {reason}"] = None


def merge_python(base: str, ours: str, theirs: str, *, bold: bool) -> Resolved | Lost:
    """Both changes of one text, or why they cannot be put together."""
    trees: list[Module] = []
    for name, text in (("base", base), ("ours", ours), ("theirs", theirs)):
        found = tree(text)
        if isinstance(found, str):
            return Lost(f"{name}: {found}")
        trees.append(found)
    making = _Making(Effort(), bold)
    text = _block((trees[0].body, trees[1].body, trees[2].body), making, "", defines=True)
    text += remarks(trees[0].rest, trees[1].rest, trees[2].rest, making.effort)
    if making.clashes:
        return Lost("; ".join(list(making.clashes)[:5])[:1000])
    problem = compiles(text)
    if problem and not (compiles(ours) or compiles(theirs)):
        return Lost(f"the merged text does not compile: {problem}")
    wrong = () if bold else discrepancies(base, ours, theirs, text, python=True)
    return Lost("; ".join(wrong)) if wrong else Resolved(text, tuple(making.notes)[:_NOTES])


# --- blocks -----------------------------------------------------------------------------------------------


def _block(trio: Trio, making: _Making, where: str, *, defines: bool) -> str:
    """`defines`: the block of a module or a class, in which statements give names."""
    base, ours, theirs = trio
    layouts = (lay_out(base, ours, making.effort), lay_out(base, theirs, making.effort))
    regions = _disputed(trio, layouts)
    for statement in (*half_below(trio, layouts, regions), *set_apart(trio, layouts, regions)):
        making.clash(where, f"both added it, each at another place: {statement.bare.strip()[:60]!r}")
    out: list[str] = []
    at = 0
    while True:
        mine, other = (
            _placed(layout.gap.get(at, ()), trio, which, layouts, making, where) for which, layout in enumerate(layouts)
        )
        out += _joined(mine, other, making, where, defines=defines)
        if at == len(base):
            return "".join(out)
        if at in regions:
            out.append(_region(trio, layouts, (at, regions[at]), making, where))
            at = regions[at] + 1
            continue
        mine, other = (  # where both have some, they are alike
            _placed(layout.instead.get(at, ()), trio, which, layouts, making, where)
            for which, layout in enumerate(layouts)
        )
        out += _joined(mine, other, making, where, defines=defines)
        if all(at in layout.pair and at not in layout.moved for layout in layouts):
            out.append(_paired(trio, layouts, at, making, where))
        at += 1


def _paired(trio: Trio, layouts: tuple[Layout, Layout], at: int, making: _Making, where: str) -> str:
    ours, theirs = trio[1][layouts[0].pair[at]], trio[2][layouts[1].pair[at]]
    return _statement(trio[0][at], ours, theirs, making, where)


def _placed(
    indexes: Sequence[int], trio: Trio, which: int, layouts: tuple[Layout, Layout], making: _Making, where: str
) -> list[Placed]:
    """What a side has at a place: its new statements, and those that it moved there, with the other's changes."""
    back = {there: at for at, there in layouts[which].pair.items()} if indexes else {}
    other = layouts[1 - which]
    found: list[Placed] = []
    for index in indexes:
        statement = trio[which + 1][index]
        at = back.get(index)
        if at is None:
            found.append(Placed(statement, statement.text, index == 0))
        elif at in other.pair and (which == 0 or at not in layouts[0].moved):
            found.append(Placed(statement, _paired(trio, layouts, at, making, where), index == 0))
        elif at not in other.pair and at in other.run:
            making.clash(where, f"one side moved what the other replaced: {statement.bare.strip()[:60]!r}")
            found.append(Placed(statement, statement.text, index == 0))
    return found


def _disputed(trio: Trio, layouts: tuple[Layout, Layout]) -> dict[int, int]:
    """First to last of what one side took out or replaced, and the other changed or replaced too."""
    base = trio[0]
    spans: list[tuple[int, int]] = []
    for which, layout in enumerate(layouts):
        other, side = layouts[1 - which], trio[2 - which]
        for at in range(len(base)):
            if at in layout.pair:
                continue
            if at in other.pair:
                disputed = side[other.pair[at]].key != base[at].key
            else:
                disputed = (at in layout.run or at in other.run) and not _replaced_alike(trio, layouts, at)
            if disputed:
                spans.append(layout.run.get(at, (at, at)))
                spans.append(other.run.get(at, (at, at)))
    regions: dict[int, int] = {}
    low = high = -1
    for first, last in sorted(spans):
        if first <= high:
            high = max(high, last)
        else:
            low, high = first, last
        regions[low] = high
    return {first: _closed(last, layouts) for first, last in regions.items()}


def _closed(last: int, layouts: tuple[Layout, Layout]) -> int:
    """With the whole runs that reach into it."""
    for _ in range(2):
        last = max([last, *(layout.run[last][1] for layout in layouts if last in layout.run)])
    return last


def _replaced_alike(trio: Trio, layouts: tuple[Layout, Layout], at: int) -> bool:
    """Whether both replaced the same run by the same statements."""
    if not all(at in layout.run for layout in layouts):
        return False
    runs = [layout.run[at] for layout in layouts]
    texts = [
        [trio[which + 1][index].key for index in layout.instead[layout.run[at][0]]]
        for which, layout in enumerate(layouts)
    ]
    return runs[0] == runs[1] and texts[0] == texts[1]


def _joined(ours: list[Placed], theirs: list[Placed], making: _Making, where: str, *, defines: bool) -> list[str]:
    """What both put at one place."""
    if not ours or not theirs:
        return [placed.text for placed in ours or theirs]
    leading = [[placed for placed in side if placed.leads] for side in (ours, theirs)]
    others = [[placed for placed in side if not placed.leads] for side in (ours, theirs)]
    if any(leading) and any(others):
        first = _joined(leading[0], leading[1], making, where, defines=defines)
        return first + _joined(others[0], others[1], making, where, defines=defines)
    keys = [[known(placed, defines=defines, bold=making.bold) for placed in side] for side in (ours, theirs)]
    if keys[0][-1] != keys[1][-1] and is_last(ours[-1].statement):
        if is_last(theirs[-1].statement):
            making.clash(where, f"both end the block, one with {ours[-1].statement.bare.strip()[:60]!r}")
        ours, theirs, keys = theirs, ours, keys[::-1]
    elif making.bold and not defines and not is_last(theirs[-1].statement):
        ours, theirs, keys = theirs, ours, keys[::-1]  # the order that the careful merge did not take
    pairs = matches(keys[0], keys[1], making.effort)
    if not making.bold and crossed(keys[0], keys[1], pairs):
        making.clash(where, "both added the same things, in another order")
    out: list[str] = []
    at, there = 0, 0
    for first_at, second_at in [*pairs, (len(ours), len(theirs))]:
        out += [placed.text for placed in (*ours[at:first_at], *theirs[there:second_at])]
        if first_at < len(ours):
            out.append(_twice(ours[first_at], theirs[second_at], making, where))
        at, there = first_at + 1, second_at + 1
    return out


def _twice(ours: Placed, theirs: Placed, making: _Making, where: str) -> str:
    """What both added under one name."""
    first, second = ours.statement, theirs.statement
    lead = remarks("", first.lead, second.lead, making.effort)
    if first.key == second.key:
        return lead + max(ours.text.removeprefix(first.lead), theirs.text.removeprefix(second.lead), key=len)
    name = _dotted(where, first)
    try:
        if first.kind == "import" and first.name.startswith("from "):
            line, other = first.parts[0].header, second.parts[0].header
            until = line.words.index("import") + 1
            words = merge_words(line.tokens[:until], line.tokens, other.tokens, making.hand)
            return lead + line.indent + words + line.end
        return lead + _both_bodies(first, second, making, name)
    except Clash as clash:
        making.clash(name, str(clash))
        return ours.text + theirs.text


def _both_bodies(first: Statement, second: Statement, making: _Making, name: str) -> str:
    """Two blocks below one header, as one block below it. Raises Clash."""
    part, other = first.parts[0], second.parts[0]
    same = part.header.words == other.header.words and len(first.parts) == len(second.parts) == 1
    mergeable = first.kind == "class" or (is_typing(first) and is_typing(second)) or making.bold
    if part.body is None or other.body is None or not same or not mergeable:
        raise Clash("both added it, each in another way")
    decorated = [[line.words for line in each.decorators] for each in (part, other)]
    if decorated[0] != decorated[1] and not making.bold:
        raise Clash("both added it, each with other decorators")
    bare, other_bare = first.without_lead().parts[0], second.without_lead().parts[0]
    text = _decorators([], bare.decorators, other_bare.decorators, making)
    text += bare.header.text + _block(([], part.body, other.body), making, name, defines=first.kind == "class")
    return text + remarks("", part.rest, other.rest, making.effort)


def _dotted(where: str, statement: Statement) -> str:
    name = statement.name if statement.kind in ("function", "class") else ""
    return ".".join(part for part in (where, name) if part)


# --- what both changed ------------------------------------------------------------------------------------


def _region(trio: Trio, layouts: tuple[Layout, Layout], span: tuple[int, int], making: _Making, where: str) -> str:
    """Statements that one side replaced, and the other changed."""
    sides = [list(trio[0][span[0] : span[1] + 1])]
    for which, layout in enumerate(layouts):
        mine: set[int] = set()
        if any(at in layout.moved and at in layouts[1 - which].run for at in range(span[0], span[1] + 1)):
            making.clash(where, "one side moved something out of what the other replaced")
        for at in range(span[0], span[1] + 1):
            mine.update(layout.instead.get(at, ()))
            if at in layout.pair and at not in layout.moved:
                mine.add(layout.pair[at])
            if at > span[0]:
                mine.update(layout.gap.get(at, ()))
        sides.append([trio[which + 1][index] for index in sorted(mine)])
    base, ours, theirs = sides
    header = wrapped_alike(base, ours, theirs, making.effort)
    if header is not None:
        return _statement(header, ours[0], theirs[0], making, where)
    wraps = (unwrapped(base, ours, theirs, making.effort), unwrapped(base, theirs, ours, making.effort))
    if are_rivals(*wraps, making.effort):
        making.clash(where, f"both put it below a header, either may be the outer one: {base[0].bare.strip()[:60]!r}")
    for swap, wrapped in enumerate(wraps):
        if wrapped is not None:
            try:
                return _rewrapped(wrapped, making, where, swap=bool(swap))
            except Clash as clash:
                making.notes[f"{where}: {clash}"] = None
    making.clash(where, f"one side replaced what the other changed: {base[0].bare.strip()[:60]!r}")
    if not ours or not theirs:
        return "".join(statement.text for statement in ours or theirs)
    texts = ["".join(statement.text for statement in side) for side in sides]
    return code_lines(texts[0], texts[1], texts[2], making.effort)


def _rewrapped(wrapped: Wrapped, making: _Making, where: str, *, swap: bool) -> str:
    """A block below a new header, with the other side's changes in it. Raises Clash."""
    part = wrapped.outer.parts[0]
    header = part.header
    text = header.text
    if wrapped.header is not None:
        was, other = wrapped.header
        words = merge_words(was.tokens, header.tokens, other.tokens, making.hand)
        text = remarks(was.lead, header.lead, other.lead, making.effort) + header.indent + words + header.end
    body = part.body or []
    trio = (wrapped.base, wrapped.other, body) if swap else (wrapped.base, body, wrapped.other)
    return text + _block(trio, making, where, defines=False) + part.rest + _shown(wrapped.outer.parts[1:])


def _statement(base: Statement, ours: Statement, theirs: Statement, making: _Making, where: str) -> str:
    """One statement that is there on all three."""
    if ours.text == base.text or ours.text == theirs.text:
        return theirs.text
    if theirs.text == base.text:
        return ours.text
    lead = remarks(base.lead, ours.lead, theirs.lead, making.effort)
    if ours.bare == base.bare or ours.bare == theirs.bare:
        return lead + theirs.bare
    if theirs.bare == base.bare:
        return lead + ours.bare
    where = _dotted(where, base)
    try:
        return lead + _parts(base.without_lead(), ours.without_lead(), theirs.without_lead(), making, where)
    except Clash as clash:
        making.clash(where, str(clash))
        return lead + code_lines(base.bare, ours.bare, theirs.bare, making.effort)


def _parts(base: Statement, ours: Statement, theirs: Statement, making: _Making, where: str) -> str:
    """The clauses of a statement. Raises Clash."""
    sides = [statement.parts for statement in (base, ours, theirs)]
    keys = clause_keys(sides)
    text = ""
    for piece in three(keys[0], keys[1], keys[2], making.effort, touching=False):
        b, o, t = sides[0][slice(*piece.base)], sides[1][slice(*piece.ours)], sides[2][slice(*piece.theirs)]
        shown = [_shown(parts) for parts in (b, o, t)]
        if piece.who is Who.NOBODY:
            text += "".join(_part(*trio, base.kind, making, where) for trio in zip(b, o, t, strict=True))
        elif shown[1] == shown[2] or (piece.who is Who.OURS and shown[2] == shown[0]):
            text += shown[1]
        elif piece.who is Who.THEIRS and shown[1] == shown[0]:
            text += shown[2]
        elif piece.who is Who.CLASH and not b:
            text += _shown(clauses_in_turn(o, t))
        else:
            raise Clash("both changed its clauses")
    return text


def _shown(parts: Sequence[Part]) -> str:
    return Statement(list(parts), "", "").text if parts else ""


def _part(base: Part, ours: Part, theirs: Part, kind: str, making: _Making, where: str) -> str:
    text = _decorators(base.decorators, ours.decorators, theirs.decorators, making)
    text += _line(base.header, ours.header, theirs.header, making, prose=kind == "text")
    if base.body is None or ours.body is None or theirs.body is None:
        if (base.body is None) != (ours.body is None) or (base.body is None) != (theirs.body is None):
            raise Clash("one side gave it a block")
        return text
    text += _block((base.body, ours.body, theirs.body), making, where, defines=kind == "class")
    return text + remarks(base.rest, ours.rest, theirs.rest, making.effort)


def _decorators(base: Sequence[Line], ours: Sequence[Line], theirs: Sequence[Line], making: _Making) -> str:
    keys = [[line.words for line in side] for side in (base, ours, theirs)]
    text = ""
    for piece in three(keys[0], keys[1], keys[2], making.effort, touching=False):
        b, o, t = base[slice(*piece.base)], ours[slice(*piece.ours)], theirs[slice(*piece.theirs)]
        if piece.who is not Who.CLASH:
            text += "".join(line.text for line in (t if piece.who is Who.THEIRS else o))
        elif not b:
            text += "".join(line.text for line in [*o, *(line for line in t if line.words not in keys[1])])
        elif len(b) == len(o) == len(t) == 1:
            text += _line(b[0], o[0], t[0], making)
        else:
            raise Clash("both changed its decorators")
    return text


def _line(base: Line, ours: Line, theirs: Line, making: _Making, *, prose: bool = False) -> str:
    """One logical line. Raises Clash."""
    hand = Hand(making.effort, making.bold, prose)
    indent = theirs.indent if ours.indent == base.indent else ours.indent
    end = theirs.end if ours.end in (base.end, theirs.end) else ours.end
    if end != theirs.end != base.end and theirs.end.strip():
        end = f"{ours.end.rstrip()}  {theirs.end.lstrip()}"
    lead = remarks(base.lead, ours.lead, theirs.lead, making.effort)
    return lead + indent + merge_words(base.tokens, ours.tokens, theirs.tokens, hand) + end
