"""Which tests a change brings, and which of the tests that were there hold less than before.

Rules
- A test is known by its name within its file. One that went to another file or got another name is not removed, but
  looked at like one that stayed; one whose statements mostly live on in new tests is edited. From a file that is called
  like a test it can only go to another one: in any other file most runners look for none.
- A test in another language is known by how it is written (`foreign`).
- A test whose name is taken away again, by `del` or a constant, is none.
- A test is skipped where it, its class or its file says so now and did not. Under a condition that is false here, or
  cannot be told here, it is only skipped elsewhere.
- A test is weaker where it lost things that it held against the code, and got none for them. What is surely never run
  is lost.
- A removed test that used something which the change removes from the code has gone for a reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from quarterdeck.delivery.validation.survey import foreign
from quarterdeck.delivery.validation.survey.silence import Silence, of_class, of_function, of_module
from quarterdeck.delivery.validation.survey.sources import AnyFunction, Function, found_by_name, name_of, parsed

_BREAK = re.compile(r"\r\n?|\n")
"""Where Python counts a line. `str.splitlines` knows more ends."""
_CASE = re.compile(r"TestCase$|Tests?$")
_GRAVITY = ("", "edited", "skipped elsewhere", "weaker", "skipped")
_WORD = re.compile(r"\w+")
MOSTLY = 0.6
"""Part of a test's statements that has to be found again in new tests."""


class Test(NamedTuple):
    """One test of a file."""

    text: str = ""
    """Its lines; "" = unknown."""
    node: AnyFunction | None = None
    silence: Silence = Silence.NONE

    def same(self, other: Test) -> bool:
        """Whether both are made of the same, wherever and however it is written."""
        if self.node is None or other.node is None:
            return foreign.alike(self.text, other.text)
        return self.text == other.text or self.print == other.print

    @property
    def print(self) -> str:
        """What it is made of, without places; "" = unknown."""
        return _dump(self.node) if self.node else ""

    @property
    def body(self) -> str:
        """What it is made of, without its name; "" = unknown."""
        return re.sub(r"name='\w+'", "", self.print, count=1) if self.node else foreign.plain(self.text)

    @property
    def rows(self) -> set[str]:
        """Its statements, each on a row."""
        if self.node is None:
            return foreign.rows(self.text)
        body = [row.strip() for node in self.node.body for row in ast.unparse(node).splitlines()]
        return {row for row in body if not row.startswith(('"""', "'"))}


class Weakened(NamedTuple):
    """A test that was there and holds less now."""

    path: str
    name: str
    how: str
    """`removed`, `skipped`, `skipped elsewhere`, `weaker` or `edited`."""
    gone: bool
    """What it tested was removed, too."""


@lru_cache(maxsize=4096)
def _dump(node: ast.AST) -> str:
    return ast.dump(node)


@lru_cache(maxsize=64)
def find_tests(path: str, source: str) -> Mapping[str, Test]:
    """The tests in a file; a method is called `Class::method`."""
    if foreign.spoken(path):
        return {name: Test(text, None, silence) for name, text, silence in foreign.tests(path, source)}
    tree = parsed(source) if path.endswith(".py") else None
    found: dict[str, Test] = {}
    lines = _BREAK.split(source) if tree else []
    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef) and (node.name.startswith("Test") or any(map(_is_case, node.bases))):
            around, gone = of_class(node), set(_dropped(node.body))
            for inner in node.body:
                if isinstance(inner, Function) and inner.name.startswith("test") and inner.name not in gone:
                    found[f"{node.name}::{inner.name}"] = _test(inner, lines, around)
        elif isinstance(node, Function) and node.name.startswith("test"):
            found[node.name] = _test(node, lines)
    if tree:
        bases = {name_of(base) for node in tree.body if isinstance(node, ast.ClassDef) for base in node.bases}
        gone = set(_dropped(tree.body)) - bases  # a base is put away so that it does not run by itself
        found = {name: test for name, test in found.items() if gone.isdisjoint((name, name.partition("::")[0]))}
    return found


def _test(node: AnyFunction, lines: Sequence[str], around: Silence = Silence.NONE) -> Test:
    first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
    text = "\n".join(lines[first - 1 : node.end_lineno])
    return Test(text, node, max(around, of_function(node, text)))


def _dropped(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that these statements bind, and take away again: `test_a`, or `TestX::test_a`."""
    have: set[str] = set()
    for node in body:
        targets: list[ast.expr] = []
        if isinstance(node, (*Function, ast.ClassDef)):
            have.add(node.name)
        elif isinstance(node, ast.Delete) or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)):
            targets = node.targets
        for target in targets:
            owner = name_of(target.value) if isinstance(target, ast.Attribute) else name_of(target)
            if owner in have:
                yield f"{owner}::{target.attr}" if isinstance(target, ast.Attribute) else owner


def _is_case(base: ast.expr) -> bool:
    return bool(_CASE.search(name_of(base)))


def assertions(node: ast.AST) -> set[str]:
    """The things that a test holds against the code. What is never run holds nothing, nor does `assert True`."""
    found = set()
    for inner in _run(node):
        if isinstance(inner, ast.Assert) and not _idle(inner.test):
            found.add(ast.dump(inner.test))
        elif isinstance(inner, ast.Call):
            name = name_of(inner.func).lower()
            idle = bool(inner.args) and all(map(_fixed, inner.args))
            if name in ("raises", "warns", "fail", "expect") or (name.startswith("assert") and not idle):
                found.add(ast.dump(inner))
    return found


def _idle(test: ast.expr) -> bool:
    """Whether a condition says nothing: a constant, a tuple that is not empty, or what holds beside a constant."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return any(isinstance(value, ast.Constant) and value.value for value in test.values)
    return _fixed(test) or (isinstance(test, ast.Tuple) and bool(test.elts))


def _fixed(node: ast.AST) -> bool:
    """Whether it is the same whatever the code does."""
    return not any(isinstance(each, ast.Name) for each in ast.walk(node))


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """What of a test may be run, and may fail: nothing behind a `return`, under a constant that is false, over an empty
    list, where every failure is passed over, or in a function of its own that nothing in it speaks of."""
    spoken = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}
    left = [node]
    while left:
        each = left.pop()
        yield each
        never = _never(each)
        for field, value in ast.iter_fields(each):
            if field == never:
                continue
            parts = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, ast.AST)]
            own = not isinstance(each, ast.ClassDef)
            left += [part for part in _until_it_leaves(parts) if not (own and _unheard(part, spoken))]


def _unheard(node: ast.AST, spoken: Collection[str]) -> bool:
    return isinstance(node, Function) and node.name not in spoken and not node.decorator_list


def _never(node: ast.AST) -> str:
    """The part of a statement that is surely not run, or cannot fail; "" = none."""
    if isinstance(node, (ast.If, ast.While)) and isinstance(node.test, ast.Constant):
        return "body" if not node.test.value else "orelse" if isinstance(node, ast.If) else ""
    empty = isinstance(node, ast.For) and isinstance(node.iter, (ast.List, ast.Tuple)) and not node.iter.elts
    deaf = isinstance(node, ast.Try) and any(map(_passes_over, node.handlers))
    mute = isinstance(node, (ast.With, ast.AsyncWith)) and any(_suppresses(item.context_expr) for item in node.items)
    return "body" if empty or deaf or mute else ""


def _passes_over(handler: ast.excepthandler) -> bool:
    """Whether a failed assertion ends here, and nothing follows."""
    assert isinstance(handler, ast.ExceptHandler)
    caught = handler.type is None or _catches(handler.type)
    return caught and all(isinstance(each, (ast.Pass, ast.Continue)) or _says_nothing(each) for each in handler.body)


def _says_nothing(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Expr, ast.Return)) and isinstance(node.value, (ast.Constant, type(None)))


def _suppresses(call: ast.expr) -> bool:
    return isinstance(call, ast.Call) and name_of(call.func) == "suppress" and any(map(_catches, call.args))


def _catches(kind: ast.expr) -> bool:
    """Whether that is what a failed assertion raises, or one of its kinds is."""
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(name_of(each) in ("AssertionError", "Exception", "BaseException") for each in kinds)


def _until_it_leaves(body: list[ast.AST]) -> list[ast.AST]:
    """Statements up to the first that goes on nowhere behind it."""
    end = next((at for at, each in enumerate(body) if _leaves(each)), len(body))
    return body[: end + 1]


def _leaves(node: ast.AST) -> bool:
    """Whether nothing that stands behind it is run."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Constant):
        return any(map(_leaves, node.body if node.test.value else node.orelse))
    return isinstance(node, (ast.Return, ast.Raise, ast.Continue, ast.Break))


def weakened(files: Iterable[tuple[str, str, str]], gone: set[str]) -> Iterator[Weakened]:
    """Existing tests that hold less than before. `files`: path, old source, new source; "" = there is none.

    `gone`: the functions and classes that the change removed from the code.
    """
    both = [(path, find_tests(path, old), find_tests(path, new)) for path, old, new in files]
    homes: dict[bool, _Homes] = {}
    for path, was, now in both:
        known = found_by_name(path)
        for name, test in was.items():
            if name in now:
                how = _how(path, test, now[name])
            else:
                if known not in homes:
                    homes[known] = _homes([each for each in both if not known or found_by_name(each[0])])
                how = _gone(path, name, test, homes[known])
            if how:
                used = {name_of(node) for node in ast.walk(test.node)} if test.node else set(_WORD.findall(test.text))
                yield Weakened(path, name, how, name not in now and how != "edited" and bool(gone & used))
    moved = any(name not in now for _, was, now in both for name in was)
    for path, old, new in files:
        if (how := _whole(path, old, new, moved)) != "":
            yield Weakened(path, "", how, False)


class _Homes(NamedTuple):
    """Where tests that are not in their file any more may be."""

    bodies: Mapping[str, Silence]
    """What the tests that are there now are made of, without their names, and how silent the loudest of each is."""
    named: Mapping[str, Sequence[Test]]
    """The new ones, by the last part of their names."""
    rows: set[str]
    """The statements of those that are run."""


def _homes(both: Iterable[tuple[str, Mapping[str, Test], Mapping[str, Test]]]) -> _Homes:
    both = list(both)
    fresh = [(name, test) for _, was, now in both for name, test in now.items() if name not in was]
    named: dict[str, list[Test]] = {}
    for name, test in fresh:
        named.setdefault(name.rpartition("::")[2], []).append(test)
    bodies: dict[str, Silence] = {}
    for test in (test for _, _, now in both for test in now.values() if test.body):
        bodies[test.body] = min(test.silence, bodies.get(test.body, Silence.ALWAYS))
    return _Homes(bodies, named, {row for _, test in fresh if test.silence < Silence.HERE for row in test.rows})


def _gone(path: str, name: str, test: Test, homes: _Homes) -> str:
    """What became of a test that is not in its file any more; "" = nothing."""
    if test.body in homes.bodies:
        return _quieter(test.silence, homes.bodies[test.body])
    if moved := homes.named.get(name.rpartition("::")[2]):
        return min((_moved(path, test, other) for other in moved), key=_GRAVITY.index)
    return "edited" if test.rows and len(test.rows & homes.rows) >= MOSTLY * len(test.rows) else "removed"


def _moved(path: str, old: Test, new: Test) -> str:
    """What became of a test that may be this one now. Other words, but no fewer, are nothing."""
    how = _how(path, old, new)
    if how == "edited" and old.node and new.node:
        return "edited" if len(assertions(new.node)) < len(assertions(old.node)) else ""
    return how


def _how(path: str, old: Test, new: Test) -> str:
    """What became of a test that is still there; "" = nothing."""
    if quieter := _quieter(old.silence, new.silence):
        return quieter
    if new.same(old):
        return ""
    if old.node is None or new.node is None:
        return "weaker" if foreign.weaker(path, old.text, new.text) else "edited"
    return "weaker" if assertions(new.node) < assertions(old.node) else "edited"


def _quieter(old: Silence, new: Silence) -> str:
    """Whether a test is skipped that was not; "" = no."""
    if min(new, Silence.HERE) <= old:
        return ""
    return "skipped" if new >= Silence.HERE else "skipped elsewhere"


def _whole(path: str, old: str, new: str, moved: bool) -> str:
    """Whether more of a whole file is skipped than before. `moved`: a new one may hold tests that were there."""
    if not new or not (old or moved or path.endswith("conftest.py")):
        return ""
    if foreign.spoken(path):
        return _quieter(Silence.NONE, foreign.whole(old, new))
    return _quieter(of_module(old), of_module(new))
