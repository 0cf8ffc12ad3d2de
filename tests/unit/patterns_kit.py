"""The regular expressions of the product, how each is used, and texts that make one begin again and again.

Rules
- What a module compiles, and what it asks `re` for in words, is an expression of it. How it is used stands where its
  name does; one that is handed on without a name is taken to be used in every way that its module uses any.
- A text that may take long: what leads to a repetition, then what is repeated, thousands of times, then what fits
  nothing. What is repeated are a few of the strings that fit, and two of them in turn: where two ways lead through
  such a text, or each of its characters may be the beginning, the time is no longer in proportion to its length.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from re import _constants as c  # type: ignore[attr-defined]  # typeshed leaves it out
from re import _parser  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import Any, Final

import quarterdeck

ROOT: Final = Path(quarterdeck.__file__).parent
ANCHORED: Final = frozenset({"match", "fullmatch"})
ANYWHERE: Final = frozenset({"search", "finditer", "findall", "sub", "subn", "split"})
_CALLED: Final = re.compile(rf"\.(?:{'|'.join(sorted(ANCHORED | ANYWHERE))})\(")
LONG: Final = 64
"""Repetitions from which on one counts as a repetition."""
_LOADS: Final = """
import importlib, json, pkgutil, re, sys
compiled, found, root = re.compile, [], sys.argv[1]
def spy(pattern, flags=0):
    frame, result = sys._getframe(1), compiled(pattern, flags)
    if frame.f_code.co_filename.startswith(root):
        raw = isinstance(result.pattern, bytes)
        text = result.pattern.decode("latin-1") if raw else result.pattern
        found.append((frame.f_code.co_filename, frame.f_lineno, text, raw, result.flags))
    return result
re.compile = spy
for module in pkgutil.walk_packages([root], "quarterdeck."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
json.dump(found, sys.stdout)
"""
_FAILS: Final = "\x01"
_USUAL: Final = " a0\n-.\"'/"
_MOST: Final = 12
"""Strings of one part of an expression, at most."""


@dataclass(frozen=True, slots=True)
class Used:
    """One expression."""

    where: str
    """`module.py:line`"""
    pattern: "re.Pattern[Any]"
    ways: frozenset[str]

    def attacks(self, length: int) -> Iterator[Any]:
        """Texts of about so many characters."""
        shown = self.pattern.pattern
        tree = _parsed(self.pattern)
        text = shown.decode("latin-1") if isinstance(shown, bytes) else shown
        signs = list(dict.fromkeys(_USUAL + re.sub(r"\\[a-zA-Z]|[()\[\]?*+|^{}]", "", text)))[:16]
        made: dict[tuple[str, str], None] = {}
        for heads, repeated in _repeated(tree, [""], signs):
            strings = [one for one in _strings(repeated, signs) if one]
            pumps = [*strings, *(a + b for a, b in product(strings[:3], repeat=2))]
            made.update(dict.fromkeys(product(heads[:2], pumps)))
        for head, pump in made:
            one = head + pump * (length // len(pump)) + _FAILS
            yield one.encode("latin-1", "replace") if isinstance(shown, bytes) else one

    def reads(self, text: Any) -> None:
        """Read it in each way in which that expression is used."""
        if self.ways & ANCHORED:
            self.pattern.match(text)
            self.pattern.fullmatch(text)
        if self.ways & ANYWHERE:
            for _ in self.pattern.finditer(text):
                pass


# --- what there is ----------------------------------------------------------------------------------------


def used() -> list[Used]:
    """Every expression of the product."""
    files = [_File.read(path) for path in sorted(ROOT.rglob("*.py"))]
    public: dict[str, set[str]] = {}
    for file in files:
        for name, way, _ in file.calls:
            public.setdefault(name, set()).add(way)
    found: dict[tuple[object, int], Used] = {}
    compiled = _compiled()
    for file in files:
        own: dict[str, set[str]] = {}
        for name, way, _ in file.calls:
            own.setdefault(name, set()).add(way)
        for line, pattern in compiled.get(file.path, ()):
            known = [(own if name.startswith("_") else public).get(name, set()) for name in file.names(line)]
            ways = set(chain(*known)) or set(chain(*own.values()))
            found[pattern.pattern, pattern.flags] = Used(file.where(line), pattern, frozenset(ways))
        for name, way, call in file.calls:
            if name == "re" and isinstance(call.args[0], ast.Constant):
                pattern = re.compile(call.args[0].value, _flags(call))
                one = Used(file.where(call.lineno), pattern, frozenset({way}))
                found.setdefault((pattern.pattern, pattern.flags), one)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    nodes: Sequence[ast.AST]
    calls: Sequence[tuple[str, str, ast.Call]]
    """(whose, which, the call) of each call of something that has the name of a way to use an expression."""

    @classmethod
    def read(cls, path: Path) -> "_File":
        text = path.read_text()
        nodes = list(ast.walk(ast.parse(text))) if _CALLED.search(text) else []
        calls = [
            (_name(node.func.value), node.func.attr, node)
            for node in nodes
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args
            if node.func.attr in ANCHORED | ANYWHERE
        ]
        return cls(path, [node for node in nodes if isinstance(node, ast.Assign | ast.AnnAssign)], calls)

    def where(self, line: int) -> str:
        return f"{self.path.relative_to(ROOT)}:{line}"

    def names(self, line: int) -> Iterator[str]:
        """What the statement around a line gives a name to."""
        for node in self.nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.lineno <= line <= (node.end_lineno or 0):
                yield from map(_name, node.targets if isinstance(node, ast.Assign) else [node.target])


def _compiled() -> dict[Path, list[tuple[int, "re.Pattern[Any]"]]]:
    """What the modules of the product compile as they are loaded, by file, and the line that does so."""
    made: dict[Path, list[tuple[int, re.Pattern[Any]]]] = {}
    done = subprocess.run([sys.executable, "-c", _LOADS, str(ROOT)], capture_output=True, text=True, check=True)
    for path, line, pattern, raw, flags in json.loads(done.stdout):
        compiled: re.Pattern[Any] = re.compile(pattern.encode("latin-1") if raw else pattern, flags)
        made.setdefault(Path(path), []).append((line, compiled))
    return made


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _flags(call: ast.Call) -> int:
    words = chain(*(ast.walk(node) for node in [*call.args[1:], *(keyword.value for keyword in call.keywords)]))
    return sum({int(getattr(re, w.attr)) for w in words if isinstance(w, ast.Attribute) and _name(w.value) == "re"})


# --- texts ------------------------------------------------------------------------------------------------


def _parsed(pattern: "re.Pattern[Any]") -> Any:
    shown, flags = pattern.pattern, pattern.flags
    if isinstance(shown, bytes):
        return _parser.parse(shown.decode("latin-1"), flags & ~re.UNICODE)
    return _parser.parse(shown, flags)


def _repeated(tree: Any, heads: list[str], signs: Sequence[str]) -> Iterator[tuple[list[str], Any]]:
    """(what leads to it, what is repeated) for each repetition."""
    for kind, value in tree:
        if kind in (c.MAX_REPEAT, c.MIN_REPEAT):
            if value[1] >= LONG:
                yield heads, value[2]
            yield from _repeated(value[2], heads, signs)
        for inner in _inner(kind, value):
            yield from _repeated(inner, heads, signs)
        ends = _strings([(kind, value)], signs)
        heads = list(dict.fromkeys(head + end for head in heads for end in ends))[:6]


def _inner(kind: Any, value: Any) -> Sequence[Any]:
    if kind is c.SUBPATTERN:
        return [value[3]]
    if kind is c.BRANCH:
        return list(value[1])
    if kind in (c.ASSERT, c.ASSERT_NOT):
        return [value[1]]
    return [value] if kind is c.ATOMIC_GROUP else []


def _strings(tree: Any, signs: Sequence[str]) -> list[str]:
    """A few strings that fit."""
    found = [""]
    for kind, value in tree:
        one = _one(kind, value, signs)
        found = list(dict.fromkeys(before + after for before in found for after in one))
        found = found[:: max(1, len(found) // _MOST)][:_MOST]
    return found


def _one(kind: Any, value: Any, signs: Sequence[str]) -> list[str]:
    if kind is c.LITERAL:
        return [chr(value)]
    if kind in (c.NOT_LITERAL, c.ANY, c.IN):
        return _characters(kind, value, signs)
    if kind in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
        least, _, inner = value
        return [one * max(least, 1) for one in _strings(inner, signs)[:4]] + ([""] if least == 0 else [])
    if kind in (c.SUBPATTERN, c.BRANCH, c.ATOMIC_GROUP):
        return list(chain(*(_strings(inner, signs)[:4] for inner in _inner(kind, value))))[:_MOST]
    return [""]


def _characters(kind: Any, value: Any, signs: Sequence[str]) -> list[str]:
    node = _parser.SubPattern(_parser.State(), [(kind, value)])
    fits = re._compiler.compile(node).fullmatch  # type: ignore[attr-defined]  # typeshed leaves it out
    found = [sign for sign in signs if fits(sign)][:5]
    if not found and kind is c.IN:
        found = [chr(v if k is c.LITERAL else v[0]) for k, v in value if k in (c.LITERAL, c.RANGE)][:5]
    return found or ["\u1234"]
