"""Tests in other languages than Python: where they stand, how they are written, and what became of one.

Rules
- A test is known by how it is written: nothing but space and its name may differ. Of two of one name in a file, and of
  one whose end is not found, it is not known what they are made of.
- It is weaker where lines went that held something against the code, and none came.
- It is skipped where it is marked so, skips itself, or another one of its file is to be run alone. Under a condition it
  is only skipped elsewhere. What is still to be written (`it.todo`) is none yet.
- Rust's tests mostly stand beside the code. What they lose is told wherever they are; they cannot be tried without it.
- What stands in a comment is no test: in one that begins a line, because elsewhere such signs mostly stand in a text.
- A source is looked through twice at most for where its tests end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from quarterdeck.delivery.validation.survey.silence import Silence
from quarterdeck.delivery.validation.survey.sources import SCRIPTS

_NAMED = r"""\(\s*(?P<q>["'`])(?P<name>.+?)(?P=q)"""
_CHOSEN = r"""\.(?P<chosen>skipIf|runIf|each)(?:\((?:[^()]|\([^()]*\)){0,2000}\)|`[^`]{0,2000}`)"""
_TESTS = {
    SCRIPTS: re.compile(
        rf"""(?<![\w.$])(?P<mark>x?)(?:it|test)(?:\.(?P<how>only|skip|fails|concurrent))?(?:{_CHOSEN})?{_NAMED}"""
    ),
    (".go",): re.compile(r"(?m)^func (?P<name>Test\w+)\("),
    (".rs",): re.compile(
        r"(?P<mark>(?:#\[[^\]\n]{0,200}\]\s{0,9}){0,5})#\[(?:\w+::)?test\]\s*"
        r"(?P<how>(?:#\[[^\]]{0,400}\]\s*){0,20})(?:pub )?(?:async )?fn (?P<name>\w+)"
    ),
}
_HOLDS = {
    ".go": re.compile(r"\bt\.(?:Error|Fatal|Fail)\w*\(|\b(?:assert|require)\.\w"),
    ".rs": re.compile(r"\b(?:assert\w*|panic|unreachable)!|\.(?:unwrap|expect)\w*\("),
}
_HOLDS_SCRIPT = re.compile(r"\b(?:expect|assert|should)")
"""What a line says that holds something against the code."""
_SKIPS = {
    ".go": re.compile(r"\bt\.Skip(?:f|Now)?\("),
    ".rs": re.compile(r"(?!)"),
}
_SKIPS_SCRIPT = re.compile(r"\b(?:this|it|test|t|ctx|context|task)\.skip\(")
"""What a test says that skips itself."""
_SURELY = re.compile(r"\bif[ (]+(?:true|!false)[ )]*\{\Z")
_SHORT = 30
"""Characters in which such a condition stands."""
_IF = re.compile(r"\bif\b|\?|&&|\|\|")
_MARK = re.compile(r"\Ax|\.skip\b")
_BLOCKS = re.compile(r"\b(?:describe|context|suite)\.(?:skip|todo)\s{0,9}\(|(?<![\w.$])x(?:describe|context)\(")
"""Skips all tests in it."""
_ALONE = re.compile(
    r"""(?m)^[ \t]*(?:(?:\w+\.)?(?:it|test|describe|context|suite)\.only\b|f(?:it|describe|context)\(\s{0,9}["'`])"""
)
"""Skips all others of its file."""
_HANDED_ON = re.compile(
    r"\b(?:describe|context|suite)\.(?:skipIf\b|skip\b(?!\s{0,9}\())|\b(?:it|test)\.skip\b(?!\s{0,9}\()"
)
"""May do so."""
_ASIDE = ("//", "/*", "*")
"""How lines begin that are comments."""
_COMMENT = re.compile(r"(?ms)^[ \t]*//[^\n]*|(?:^[ \t]*/\*|/\*(?=[ \t]*$)).*?(?:\*/|\Z)")
_PART = re.compile(r"[{};]")
_FRAME = " \t(){}[];,"
"""What is left of a line when all around it is gone."""
_SIGN = re.compile(
    r"""//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|[()\[\]{}]""", re.DOTALL
)
_WITHIN = (".rs",)
_DEFINES = re.compile(r"\b(?:fn|struct|enum|trait|union|mod|type|const|static|macro_rules!)\s{1,9}(\w+)")
_INNER = re.compile(r"(?m)^[ \t]*#\[cfg\(test\)\]")
_LONGEST = 20_000
"""Characters of a test; of a longer one it is not known what it is made of."""
_ROUNDS = 2
"""How often a source is looked through for where its tests end, all in all."""


class Written(NamedTuple):
    """One test."""

    name: str
    text: str
    """Without its name; "" = not known."""
    silence: Silence


def spoken(path: str) -> bool:
    """Whether tests are found in such a file."""
    return any(path.endswith(suffixes) for suffixes in _TESTS)


def within(path: str) -> bool:
    """Whether such a file has its tests beside the code that they test."""
    return path.endswith(_WITHIN)


def defined(source: str) -> set[str]:
    """What such a file defines before its tests begin."""
    inner = _INNER.search(source)
    return set(_DEFINES.findall(source, 0, inner.start() if inner else len(source)))


def tests(path: str, source: str) -> Iterator[Written]:
    """The tests of a file, each name once."""
    pattern = next(pattern for suffixes, pattern in _TESTS.items() if path.endswith(suffixes))
    found: dict[str, Written] = {}
    room = _LONGEST + _ROUNDS * len(source)
    comments = _COMMENT.finditer(source)
    comment = next(comments, None)
    for match in pattern.finditer(source):
        while comment is not None and comment.end() <= match.start():
            comment = next(comments, None)
        if comment is not None and comment.start() <= match.start():
            continue
        name, twin = match["name"], found.get(match["name"])
        text = _text(path, source, match) if twin is None and room > 0 else ""
        room -= len(text) or _LONGEST
        silence = max(_marked(match), _said(path, text), twin.silence if twin else Silence.NONE)
        found[name] = Written(name, text, silence)
    yield from found.values()


def _text(path: str, source: str, match: re.Match[str]) -> str:
    """A test up to where its brackets close, without its name and what marks it as skipped; "" = that is not known."""
    script = not path.endswith((".go", ".rs"))
    head = _MARK.sub("", source[match.start() : match.start("q")]) if script else ""
    depth = 0 if path.endswith(".rs") else 1  # a bracket is open where the name ends
    for sign in _SIGN.finditer(source, match.end(), match.end() + _LONGEST):
        if sign[0] in "([{":
            depth += 1
        elif sign[0] in ")]}":
            depth -= 1
            if depth <= 0 and (script or sign[0] == "}"):
                return head + source[match.end() : sign.end()]
    return ""


def _marked(match: re.Match[str]) -> Silence:
    """What stands before a test's name."""
    said = match.groupdict()
    mark, how = said.get("mark") or "", said.get("how") or ""
    if mark == "x" or how == "skip" or "#[ignore" in mark + how:
        return Silence.ALWAYS
    return Silence.ELSEWHERE if said.get("chosen") in ("skipIf", "runIf") or "ignore" in mark + how else Silence.NONE


def _said(path: str, text: str) -> Silence:
    """What a test says itself. In its outermost block it is always said, unless the line begins with a condition."""
    skips = [match.start() for match in _SKIPS.get(path[-3:], _SKIPS_SCRIPT).finditer(text)]
    found, signs = Silence.NONE, _SIGN.finditer(text)
    sign, opened, deeper = next(signs, None), list[bool](), 0
    for at in skips:
        while sign is not None and sign.start() < at:
            if sign[0] == "{":
                sure = not opened or _SURELY.search(text, max(0, sign.end() - _SHORT), sign.end()) is not None
                opened.append(sure)
                deeper += not sure
            elif sign[0] == "}" and opened:
                deeper -= not opened.pop()
            sign = next(signs, None)
        line = text[max(text.rfind("\n", 0, at), text.rfind("{", 0, at)) + 1 : at]
        found = max(found, Silence.ELSEWHERE if deeper or _IF.search(line) else Silence.ALWAYS)
    return found


def whole(old: str, new: str) -> Silence:
    """Whether more of a whole file is skipped than before."""
    if any(len(skips.findall(new)) > len(skips.findall(old)) for skips in (_BLOCKS, _ALONE)):
        return Silence.ALWAYS
    return Silence.ELSEWHERE if len(_HANDED_ON.findall(new)) > len(_HANDED_ON.findall(old)) else Silence.NONE


def alike(one: str, other: str) -> bool:
    """Whether two tests are written alike, as far as it is known."""
    return not one or not other or plain(one) == plain(other)


def plain(text: str) -> str:
    """A test without its space."""
    return "".join(text.split())


def weaker(path: str, old: str, new: str) -> bool:
    """Whether nothing but lines went, and one of them held something against the code."""
    holds = _HOLDS.get(path[-3:], _HOLDS_SCRIPT)
    before, after = rows(old), rows(new)
    return after <= before and any(map(holds.search, before - after))


def rows(text: str) -> set[str]:
    """What the lines of a test say, and each part between braces, without comments."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith(_ASIDE))
    return {part.strip(_FRAME) for line in lines for part in _PART.split(line)} - {""}
