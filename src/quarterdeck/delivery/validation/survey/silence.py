"""Whether tests say that they are not to be run, or not to count.

Rules
- A mark, a call or an assignment says it of a test, of all tests of a class, or of all tests of a file.
- What says it under a condition is told by the condition: true here, or not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from enum import IntEnum

from quarterdeck.delivery.validation.survey.conditions import holds
from quarterdeck.delivery.validation.survey.sources import AnyFunction, Function, name_of, parsed

_MARKS = frozenset(["skip", "skipif", "skipIf", "skipUnless", "xfail", "expectedFailure"])
_CALLS = frozenset(["skip", "skipTest", "xfail"])
_OWNERS = frozenset(("", "pytest", "unittest", "self", "cls"))
_SPOKEN_OF = re.compile(r"[sS]kip|xfail|expectedFailure|parametrize")
"""What stands in every function that says so, by `_MARKS`, `_CALLS`, `SkipTest` or with nothing to run it with."""
_FRAMES = re.compile(r"(async)?setUp(Class|Module)?$|setup_(method|class|function|module)$")


class Silence(IntEnum):
    """How far tests are not to be run."""

    NONE = 0
    ELSEWHERE = 1
    """Under a condition that is false here, or that cannot be told here."""
    HERE = 2
    """Under a condition that is true here."""
    ALWAYS = 3


def of_function(node: AnyFunction, text: str) -> Silence:
    """What a test says of itself. `text`: how it is written."""
    # Beyond ASCII, other signs are read as these.
    if text.isascii() and not _SPOKEN_OF.search(text):
        return Silence.NONE
    return max(_marked(node.decorator_list), _said(node.body))


def of_class(node: ast.ClassDef) -> Silence:
    """What a class says of its tests."""
    return max(_marked(node.decorator_list), _assigned(node.body), _framed(node.body))


def of_module(source: str) -> Silence:
    """What a file says of its tests."""
    tree = parsed(source)
    if tree is None:
        return Silence.NONE
    outer = [node for node in tree.body if not isinstance(node, (*Function, ast.ClassDef))]
    return max(_assigned(outer), _said(outer), _framed(tree.body))


def _framed(body: Iterable[ast.stmt]) -> Silence:
    frames = (node for node in body if isinstance(node, Function) and _FRAMES.match(node.name))
    return max((_said(frame.body) for frame in frames), default=Silence.NONE)


def _marked(marks: Iterable[ast.expr]) -> Silence:
    return max((_mark(mark) for mark in marks), default=Silence.NONE)


def _mark(mark: ast.expr) -> Silence:
    call = mark if isinstance(mark, ast.Call) else None
    name = name_of(call.func if call else mark)
    if name not in _MARKS:
        return Silence.ALWAYS if name == "parametrize" and call and _empty(call.args[1:2]) else Silence.NONE
    named = [given.value for given in call.keywords if given.arg == "condition"] if call else []
    positional = call.args if call and name != "skip" else []
    if not positional and not named:
        return Silence.ALWAYS
    return _under((positional or named)[0], name == "skipUnless")


def _empty(given: list[ast.expr]) -> bool:
    """Whether there is nothing to run a test with."""
    return any(isinstance(each, (ast.List, ast.Tuple)) and not each.elts for each in given)


def _under(test: ast.expr, negated: bool = False) -> Silence:
    told = holds(test)
    if told is not None and told != negated and isinstance(test, ast.Constant):
        return Silence.ALWAYS
    return Silence.ELSEWHERE if told is None or told == negated else Silence.HERE


def _assigned(body: Iterable[ast.stmt]) -> Silence:
    """What `pytestmark`, `__test__` and `collect_ignore` say."""
    found = [Silence.NONE]
    for node in body:
        if not isinstance(node, ast.Assign):
            continue
        names, value = {name_of(target) for target in node.targets}, node.value
        off = isinstance(value, ast.Constant) and not value.value
        if "pytestmark" in names:
            found.append(_marked(value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]))
        elif ("__test__" in names and off) or {"collect_ignore", "collect_ignore_glob"} & names:
            found.append(Silence.ALWAYS)
    return max(found)


def _said(body: Iterable[ast.stmt]) -> Silence:
    """What the statements that are run say, by a call or by raising `SkipTest`."""
    return max(_calls(body, Silence.ALWAYS), default=Silence.NONE)


def _calls(body: Iterable[ast.AST], within: Silence) -> Iterator[Silence]:
    for node in body:
        if _skips(node):
            yield within
        if isinstance(node, ast.If):
            yield from _calls(node.body, min(within, _under(node.test)))
            yield from _calls(node.orelse, min(within, _under(node.test, negated=True)))
        elif isinstance(node, (ast.Try, *Function)):
            yield from _calls(ast.iter_child_nodes(node), min(within, Silence.ELSEWHERE))
        else:
            yield from _calls(ast.iter_child_nodes(node), within)


def _skips(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):
        return "SkipTest" in ast.dump(node)
    if not isinstance(node, ast.Call) or name_of(node.func) not in _CALLS:
        return False
    return name_of(getattr(node.func, "value", node)) in _OWNERS
