"""What a change does to all tests at once.

Rules
- Replacing a part of the test framework (`unittest.TestCase.assertEqual = …`) is told wherever it stands, and under
  whatever name the framework goes in that file.
- What a test puts in the place of something (`unittest.mock`) is no part of the framework. Neither is what a function
  calls by a name of the framework that it has bound itself: a parameter `mock`, a local `case`.
- So is a hook of pytest or unittest that decides which tests run, or how they end.
- A name that a file gives to several things is each of them.
- Only what the change brought is told.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from quarterdeck.delivery.validation.survey.sources import AnyFunction, Function, nodes, parsed

_FRAMEWORK = re.compile(
    r"(?:unittest(?!\.mock\.)|pytest|_pytest|TestCase|TestResult|TextTestResult|TestSuite)\.(?:.*\.)?"
    r"(?:assert\w*|fail\w*|raises|warns|run|main|debug|_callTestMethod|add(?:Failure|Error)|wasSuccessful)"
)
_SPOKEN_OF = re.compile(r"unittest|pytest|Test|load_tests")
"""What stands in every source that can steer: the beginning of `_FRAMEWORK`, and of the hooks' names."""
_DEEP = 4
_LONG = 300
"""Characters of a dotted name that are looked at."""
_MANY = 50
"""Meanings of one name that are looked at."""
_HOOKS = frozenset(
    f"pytest_{name}"
    for name in (
        *(
            "collection",
            "collection_modifyitems",
            "collection_finish",
            "ignore_collect",
            "collect_file",
            "itemcollected",
        ),
        *("runtest_protocol", "runtest_call", "runtest_makereport", "runtestloop", "pyfunc_call", "pycollect_makeitem"),
        *("report_teststatus", "sessionfinish", "cmdline_main"),
    )
) | {"load_tests"}


def steers(old: str, new: str) -> Iterator[tuple[str, str]]:
    """`patches` or `hooks`, and what: of a source that becomes another one."""
    before = set(_found(old))
    yield from dict.fromkeys(found for found in _found(new) if found not in before)


def _found(source: str) -> Iterator[tuple[str, str]]:
    # Whatever it is called in the file, its own name stands there, too. Beyond ASCII, other signs are read as these.
    if source.isascii() and not _SPOKEN_OF.search(source):
        return
    tree = parsed(source) if source else None
    everything = nodes(tree) if tree else ()
    meant: dict[str, set[str]] = {}
    for name, what in (pair for node in everything for pair in _named(node)):
        if name != what:
            meant.setdefault(name, set()).add(what)
    yield from (("hooks", node.name) for node in everything if isinstance(node, Function) and node.name in _HOOKS)
    patched = [(node, name) for node in everything for name in _replaced(node)]
    patched = [(node, name) for node, name in patched if any(map(_FRAMEWORK.fullmatch, _in_full(name, meant)))]
    hidden = _hidden(everything, {_first(name) for _, name in patched if not _FRAMEWORK.fullmatch(name)})
    yield from (("patches", name) for node, name in patched if _first(name) not in hidden.get(id(node), ()))


def _first(name: str) -> str:
    return name.partition(".")[0]


def _hidden(everything: Sequence[ast.AST], names: Collection[str]) -> Mapping[int, set[str]]:
    """By node: those of the names that the functions around it have bound to something else than the file has."""
    found: dict[int, set[str]] = {}
    for node in everything if names else ():
        if isinstance(node, Function) and (own := _bound(node).intersection(names)):
            for inner in ast.walk(node):
                found.setdefault(id(inner), set()).update(own)
    return found


def _bound(function: AnyFunction) -> set[str]:
    """The names that a function binds, other than to something with a dotted name."""
    given = function.args
    names = {
        each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg) if each
    }
    inside = list(ast.walk(function))
    names |= {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    outer = {name for node in inside if isinstance(node, (ast.Global, ast.Nonlocal)) for name in node.names}
    return names - outer - {name for node in inside for name, _ in _named(node)} - set(_preset(given))


def _preset(given: ast.arguments) -> Iterator[str]:
    """The parameters that are something with a dotted name where nothing else is given for them."""
    plain = [*given.posonlyargs, *given.args]
    values = [*[None] * (len(plain) - len(given.defaults)), *given.defaults, *given.kw_defaults]
    for each, value in zip([*plain, *given.kwonlyargs], values):  # noqa: B905 - Python 3.9 knows no `strict`
        if value is not None and _dotted(value):
            yield each.arg


def _named(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Each name that this gives to something with a dotted name, and that."""
    if isinstance(node, ast.Import):
        yield from ((alias.asname, alias.name) for alias in node.names if alias.asname)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)
    elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Name, ast.Attribute)):
        meant = _dotted(node.value)
        yield from ((target.id, meant) for target in node.targets if meant and isinstance(target, ast.Name))


def _in_full(name: str, meant: Mapping[str, Collection[str]]) -> set[str]:
    """A dotted name by what its first part stands for, a few names deep: everything that it may be in this file."""
    found, left = set[str](), [name[:_LONG]]
    if _first(name) not in meant:  # as most are
        return set(left)
    for _ in range(_DEEP):
        parts = [each.partition(".") for each in left]
        found.update("".join(part) for part in parts if part[0] not in meant)
        left = [f"{what}{dot}{rest}"[:_LONG] for first, dot, rest in parts for what in sorted(meant.get(first, ()))]
        left = left[:_MANY]
    return found.union(left)


def _replaced(node: ast.AST) -> Iterator[str]:
    """The dotted names of attributes that this assigns to, one way or the other."""
    if isinstance(node, ast.Assign):
        yield from map(_dotted, node.targets)
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        yield _dotted(node.target)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
        names = [given.value for given in node.args[1:2] if isinstance(given, ast.Constant)]
        yield from (f"{_dotted(node.args[0])}.{name}" for name in names if isinstance(name, str))


def _dotted(node: ast.AST) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([*([node.id] if isinstance(node, ast.Name) else []), *reversed(parts)])
