"""Which tests a change brings, and which of the tests that were there hold less than before.

Rules
- A test is known by its name within its file; one that went to another file, or got another name, is not removed.
- A test is skipped where it says so now and did not, weaker where it holds fewer things against the code, edited
  where it differs otherwise.
- A removed test that used something which the change removes from the code has gone for a reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quarterdeck.delivery.survey.sources import AnyFunction, Function, name_of, parsed

_FOREIGN = {
    (".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs"): (
        r"""(?<![\w.])(?:it|test)(?:\.only)?\(\s*(?P<q>["'`])(?P<name>.+?)(?P=q)""",
        r"\b(?:it|test|describe)\.(?:skip|todo)\b|(?<![\w.])x(?:it|describe|test)\(",
    ),
    (".go",): (r"(?m)^func (?P<name>Test\w+)\(", r"\bt\.Skip(?:f|Now)?\("),
    (".rs",): (
        r"#\[(?:\w+::)?test\]\s*(?:#\[[^\]]*\]\s*)*(?:pub )?(?:async )?fn (?P<name>\w+)",
        r"#\[ignore",
    ),
}
_WHOLE_FILE = re.compile(
    r"^pytestmark\s*=.*(?:skip|xfail)|^(?:pytest\.skip|raise unittest\.SkipTest)\b|^collect_ignore"
    r"|^__test__\s*=\s*False",
    re.MULTILINE,
)
_MARK = re.compile(r"'(skip\w*|xfail|expectedFailure)'")
_CALL = re.compile(r"'(skip|skipTest|xfail|importorskip)'")


@dataclass(frozen=True)
class Test:
    """One test of a file."""

    __test__ = False

    print: str = ""
    """What it is made of, without places; "" = unknown."""
    node: AnyFunction | None = None

    @property
    def body(self) -> str:
        return re.sub(r"name='\w+'", "", self.print, count=1)


@dataclass(frozen=True)
class Weakened:
    """A test that was there and holds less now."""

    path: str
    name: str
    how: str
    """`removed`, `skipped`, `weaker` or `edited`."""
    gone: bool
    """What it tested was removed, too."""


def find_tests(path: str, source: str) -> dict[str, Test]:
    """The tests in a file; a method is called `Class::method`."""
    for suffixes, (pattern, _) in _FOREIGN.items():
        if path.endswith(suffixes):
            return {match["name"]: Test() for match in re.finditer(pattern, source)}
    tree = parsed(source) if path.endswith(".py") else None
    found: dict[str, Test] = {}
    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef) and (node.name.startswith("Test") or any(map(_is_case, node.bases))):
            for inner in node.body:
                if isinstance(inner, Function) and inner.name.startswith("test"):
                    found[f"{node.name}::{inner.name}"] = Test(ast.dump(inner), inner)
        elif isinstance(node, Function) and node.name.startswith("test"):
            found[node.name] = Test(ast.dump(node), node)
    return found


def _is_case(base: ast.expr) -> bool:
    return "TestCase" in ast.dump(base)


def assertions(node: ast.AST) -> int:
    """How many things a test holds against the code. `assert True` holds nothing."""
    count = 0
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assert):
            count += not isinstance(inner.test, ast.Constant)
        elif isinstance(inner, ast.Call):
            name = name_of(inner.func).lower()
            count += name.startswith("assert") or name in ("raises", "warns", "fail", "expect")
    return count


def skipped(node: AnyFunction) -> bool:
    """Whether a test says that it is not to be run, or not to count."""
    calls = [ast.dump(inner.func) for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    return any(_MARK.search(ast.dump(mark)) for mark in node.decorator_list) or any(map(_CALL.search, calls))


def weakened(files: Iterable[tuple[str, str, str]], gone: set[str]) -> Iterator[Weakened]:
    """Existing tests that hold less than before. `files`: path, old source, new source; "" = there is none.

    `gone`: the functions and classes that the change removed from the code.
    """
    files = list(files)
    here = [(name, test) for path, _, new in files for name, test in find_tests(path, new).items()]
    names = {name.rpartition("::")[2] for name, _ in here}
    bodies = {test.body for _, test in here if test.print}
    for path, old, new in files:
        now = find_tests(path, new)
        for name, test in find_tests(path, old).items():
            if name not in now:
                if name.rpartition("::")[2] not in names and test.body not in bodies:
                    used = {name_of(node) for node in ast.walk(test.node)} if test.node else set()
                    yield Weakened(path, name, "removed", bool(gone & used))
            elif now[name].print != test.print and test.node is not None:
                yield Weakened(path, name, _how(test.node, now[name].node), False)
        if _silenced(path, new) > _silenced(path, old):
            yield Weakened(path, "", "skipped", False)


def _how(old: AnyFunction, new: AnyFunction | None) -> str:
    if new is None:
        return "edited"
    if skipped(new) and not skipped(old):
        return "skipped"
    return "weaker" if assertions(new) < assertions(old) else "edited"


def _silenced(path: str, source: str) -> int:
    """Marks that skip more than one test of Python, or any of another language."""
    foreign = [skip for suffixes, (_, skip) in _FOREIGN.items() if path.endswith(suffixes)]
    pattern = re.compile(foreign[0]) if foreign else _WHOLE_FILE
    return len(pattern.findall(source))
