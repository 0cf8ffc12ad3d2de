"""Settings put together: TOML, INI and JSON texts.

Rules
- A text is merged by its lines (JSON: by its words), then read: every value must be what the values of the three texts
  say, or the merge is given up. A value that both changed in different ways is a clash; of a list of texts each side's
  entries count; a list of numbers is one value.
- What both added at one place: first the entries that go on with the section there, ours first, then whole sections.
- Texts that do not read as what they are have no merge.
"""

import configparser
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from quarterdeck.merge.line_merge import Clash, Rule, in_turn, merge_lines, shown
from quarterdeck.merge.lines import Effort, split
from quarterdeck.merge.python_tree import Token, logical, too_deep
from quarterdeck.merge.wording import Hand, merge_words

_SECTION: Final = re.compile(r"\s*\[.*\]\s*(?:[#;].*)?")
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\]\s*)?(?:[<>=!~;@].*)?", re.DOTALL)
_DEEPEST: Final = 40
_GONE: Final = object()


def merge_tables(kind: str, base: str, ours: str, theirs: str, effort: Effort) -> str:
    """The text with both changes. `kind`: the ending of its path, one of TABLES. Raises Clash."""
    before = [_read(kind, text) if text.strip() else {} for text in (base, ours, theirs)]
    if kind == ".json":
        text = merge_words(_tokens(base), _tokens(ours), _tokens(theirs), Hand(effort)) + "\n"
    else:
        sides = [split(text) for text in (base, ours, theirs)]
        rule = Rule(str, _added, lambda b, o, t: _changed(b, o, t, effort))
        text = "".join(merge_lines(sides[0], sides[1], sides[2], rule, effort))
    _check(before[0], before[1], before[2], _read(kind, text), ())
    return text


def unreadable(kind: str, text: str) -> str:
    """Why a text of such an ending is none; empty = it is one, or the ending is not one of TABLES."""
    try:
        if kind in TABLES:
            _read(kind, text)
    except Clash as clash:
        return str(clash)
    return ""


# --- lines ------------------------------------------------------------------------------------------------


def _added(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Entries of the section that is there, then sections."""
    cut = [_sections_at(lines) for lines in (ours, theirs)]
    entries = in_turn(ours[: cut[0]], theirs[: cut[1]])
    return _joined(entries, _joined(list(ours[cut[0] :]), list(theirs[cut[1] :])))


def _sections_at(lines: Sequence[str]) -> int:
    """Where whole sections begin, with the blank lines above the first."""
    at = next((at for at, line in enumerate(lines) if _SECTION.fullmatch(line.rstrip())), len(lines))
    while at and at < len(lines) and not lines[at - 1].strip():
        at -= 1
    return at


def _joined(first: list[str], second: list[str]) -> list[str]:
    """One behind the other, whole sections with a blank line between them."""
    if not first or not second:
        return first or second
    while first[-1].strip() == second[0].strip() == "":
        second = second[1:]
    needs_one = first[-1].strip() and _SECTION.fullmatch(second[0].rstrip())
    return [*first, *(["\n"] if needs_one else []), *second]


def _changed(b: Sequence[str], o: Sequence[str], t: Sequence[str], effort: Effort) -> list[str]:
    if not len(b) == len(o) == len(t) == 1:
        raise Clash(f"both changed {shown(b)}")
    return [merge_words(_tokens(b[0]), _tokens(o[0]), _tokens(t[0]), Hand(effort)) + "\n"]


def _tokens(text: str) -> Sequence[Token]:
    """The words of a text that is one logical line. Raises Clash."""
    reason = too_deep(text)
    if reason:
        raise Clash(reason)
    lines, _ = logical(text)
    if len(lines) != 1 or lines[0].end.strip():
        raise Clash("it is more than one expression")
    first, *others = lines[0].tokens
    return [Token(first.text, lines[0].lead + lines[0].indent, first.is_string), *others]


# --- values -----------------------------------------------------------------------------------------------


def _read(kind: str, text: str) -> Any:
    """What a text says. Raises Clash."""
    reason = too_deep(text)
    if reason:
        raise Clash(reason)
    try:
        return TABLES[kind](text)
    except (ValueError, RecursionError, configparser.Error) as error:
        raise Clash(f"it is not what it should be: {str(error)[:200]}") from None


def _read_json(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=once)


def _read_ini(text: str) -> Any:
    parser = configparser.RawConfigParser(allow_no_value=True, delimiters=("=", ":"), default_section="\0")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the way to have names as they are written
    parser.read_string(f"[\1]\n{text}")
    return {name: {key: _ini_value(value) for key, value in parser.items(name)} for name in parser.sections()}


def _ini_value(value: str | None) -> Any:
    """A value; several of them where it runs over lines."""
    lines = (value or "").splitlines()
    return [line.strip() for line in lines if line.strip()] if len(lines) > 1 else value


TABLES: Final[Mapping[str, Callable[[str], Any]]] = {
    ".json": _read_json,
    ".toml": tomllib.loads,
    ".ini": _read_ini,
    ".cfg": _read_ini,
}
"""The endings of settings, and what reads them."""


def _check(base: Any, ours: Any, theirs: Any, merged: Any, where: tuple[str, ...]) -> None:
    """Whether a value is what the three say. Raises Clash."""
    if _same(ours, base) or _same(ours, theirs):
        agreed = _same(merged, theirs)
    elif _same(theirs, base):
        agreed = _same(merged, ours)
    elif isinstance(ours, dict) and isinstance(theirs, dict) and isinstance(merged, dict):
        known = base if isinstance(base, dict) else {}
        if len(where) > _DEEPEST:
            raise Clash("it nests too deeply")
        for key in {*known, *ours, *theirs, *merged}:
            b, o, t, made = (side.get(key, _GONE) for side in (known, ours, theirs, merged))
            _check(b, o, t, made, (*where, str(key)))
        return
    elif isinstance(ours, list) and isinstance(theirs, list) and isinstance(merged, list):
        agreed = _agreed_lists(base if isinstance(base, list) else [], ours, theirs, merged)
    else:
        agreed = False
    if not agreed:
        raise Clash(f"both changed {'.'.join(where)[:80] or 'the whole'!r}")


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _agreed_lists(base: list[Any], ours: list[Any], theirs: list[Any], merged: list[Any]) -> bool:
    if not any(isinstance(entry, str | dict) for side in (base, ours, theirs) for entry in side):
        return False
    old, first, second, made = (Counter(map(_spelled, side)) for side in (base, ours, theirs, merged))
    for entry in {*old, *first, *second, *made}:
        more = (first[entry] - old[entry], second[entry] - old[entry])
        if min(more) >= 0:
            bounds = old[entry] + max(more), old[entry] + sum(more)
        else:
            bounds = old[entry] + sum(more), old[entry] + (min(more) if max(more) <= 0 else sum(more))
        if not bounds[0] <= made[entry] <= bounds[1]:
            return False
    # A package that both sides ask for in another way, or that one does no more, is disputed whatever its entries are.
    asked = [_by_package(side) for side in (old, first, second)]
    for name in {*asked[0], *asked[1], *asked[2]}:
        b, o, t = (side.get(name) for side in asked)
        if o != b != t != o:
            return False
    return True


def _by_package(entries: Counter[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for entry in entries:
        if name := _required(entry):
            found.setdefault(name, set()).add(entry)
    return found


def _spelled(entry: Any) -> str:
    return json.dumps(entry, sort_keys=True, default=str)


def _required(entry: str) -> str:
    """The package that an entry asks for."""
    value = json.loads(entry)
    found = _REQUIREMENT.fullmatch(value) if isinstance(value, str) else None
    return re.sub(r"[-_.]+", "-", found.group(1)).lower() if found else ""
