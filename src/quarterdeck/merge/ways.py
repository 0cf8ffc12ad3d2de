"""One file of a merge, put together one way.

Rules
- Pure, and it never raises: a way without a result says why.
- A side that is like the base gives the other side, to the letter; two sides that are alike give that side.
- A file that one side removed while the other changed it is not for a machine to decide.
- Line ends, a byte order mark and the end of the last line follow the side that changed them. A text that mixes line
  ends counts as having those of most of its lines.
- Git's own way and the outside driver are run elsewhere, on trees; git's is here for texts alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from quarterdeck.merge.line_merge import Rule, interleaved, merge_lines
from quarterdeck.merge.lines import Effort, Who, split, three
from quarterdeck.merge.listing import merge_listing
from quarterdeck.merge.naming import PYTHON, suffix, too_large
from quarterdeck.merge.python_merge import merge_python
from quarterdeck.merge.values import Lost, Resolved, Sides, Way

_MARK: Final = "\ufeff"


def resolve(way: Way, sides: Sides) -> Resolved | Lost:
    """The merged text of one file, or why this way has none."""
    reason = too_large(sides.base, sides.ours, sides.theirs)
    if reason:
        return Lost(reason)
    if way is Way.DRIVER:
        return Lost("an outside driver merges files, not texts")
    if sides.ours is None or sides.theirs is None:
        return Lost("one side removed it")
    if sides.ours in (sides.base, sides.theirs):
        return Resolved(sides.theirs)
    if sides.theirs == sides.base:
        return Resolved(sides.ours)
    texts = (sides.base or "", sides.ours, sides.theirs)
    form = _form(*[_Form.of(text) for text in texts])
    base, ours, theirs = (_plain(text) for text in texts)
    try:
        found = _resolved(way, sides.path, base, ours, theirs)
    except RecursionError:
        return Lost("it nests too deeply")
    return Resolved(form.put_on(found.text), found.notes) if isinstance(found, Resolved) else found


def _resolved(way: Way, path: str, base: str, ours: str, theirs: str) -> Resolved | Lost:
    if way is Way.GIT:
        return _by_git(base, ours, theirs)
    if way is Way.UNION:
        return _united(base, ours, theirs)
    bold = way is Way.ENTITY_UNION
    if suffix(path) in PYTHON:
        found = merge_python(base, ours, theirs, bold=bold)
    else:
        found = merge_listing(path, base, ours, theirs)
    if isinstance(found, Resolved) or not bold:
        return found
    return Resolved(_united(base, ours, theirs).text, (f"by lines: {found.reason}",))


def _by_git(base: str, ours: str, theirs: str) -> Resolved | Lost:
    """Changes that touch each other clash."""
    sides = [split(text) for text in (base, ours, theirs)]
    merged: list[str] = []
    for piece in three(sides[0], sides[1], sides[2], Effort(), touching=True):
        if piece.who is Who.CLASH:
            return Lost(f"both sides changed lines {piece.base[0] + 1} to {max(piece.base)}")
        merged += sides[2][slice(*piece.theirs)] if piece.who is Who.THEIRS else sides[1][slice(*piece.ours)]
    return Resolved("".join(merged))


def _united(base: str, ours: str, theirs: str) -> Resolved:
    """Where changes touch each other, the lines of both."""
    effort = Effort()
    places: list[int] = []

    def both(o: Sequence[str], t: Sequence[str]) -> list[str]:
        places.append(len(places))
        return interleaved(o, t, effort)

    rule = Rule(str, both, lambda _, o, t: both(o, t), touching=True)
    text = "".join(merge_lines(split(base), split(ours), split(theirs), rule, effort))
    return Resolved(text, (f"{len(places)} places hold the lines of both sides",) if places else ())


# --- form -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Form:
    """How a text is written down."""

    mark: bool
    carriage: bool
    """Most of its lines end with carriage return and line feed."""
    ended: bool
    """The last line ends with a line feed."""

    @classmethod
    def of(cls, text: str) -> "_Form | None":
        if not text:
            return None
        feeds = text.count("\n")
        carriage = 2 * text.count("\r\n") > feeds
        return cls(text.startswith(_MARK), carriage, text.endswith("\n"))

    def put_on(self, text: str) -> str:
        if not self.ended and text.endswith("\n"):
            text = text[:-1]
        if self.carriage:
            text = text.replace("\n", "\r\n")
        return f"{_MARK}{text}" if self.mark else text


def _form(base: _Form | None, ours: _Form | None, theirs: _Form | None) -> _Form:
    found = [form for form in (ours, theirs, base) if form is not None]
    if base is None or ours is None or theirs is None:
        return found[0] if found else _Form(mark=False, carriage=False, ended=True)
    return _Form(
        mark=_chosen(base.mark, ours.mark, theirs.mark),
        carriage=_chosen(base.carriage, ours.carriage, theirs.carriage),
        ended=_chosen(base.ended, ours.ended, theirs.ended),
    )


def _chosen(base: bool, ours: bool, theirs: bool) -> bool:
    return theirs if ours == base else ours


def _plain(text: str) -> str:
    """With line feeds alone, and one at the end."""
    text = text.removeprefix(_MARK).replace("\r\n", "\n")
    return text if text.endswith("\n") or not text else f"{text}\n"
