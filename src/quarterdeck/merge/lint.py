"""What is wrong with a merged text that neither side had wrong.

Rules
- A union may hold a definition twice, or put code where it is never reached: such a text must not count, even where the
  tests are green.
- Only what is new is said: what one side had already is that side's own.
- Each complaint names the thing in one short sentence.
- Definitions that belong together (overloads, a property and its setter, registered or conditional ones) do not count.
- A `case`, `elif` or `except` that stands twice, and a value that is replaced before it is read, are dead.
- A line that a side added or that both kept, and that the result does not hold, is lost (see `accounts`).
- Settings that do not read as what they are, though both sides do, may not count: TOML, INI, JSON.
- Python that this interpreter cannot read cannot be checked: then only what a driver made of it may count.
"""

import ast
import builtins
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from quarterdeck.merge.accounts import lost
from quarterdeck.merge.additions import SHARING
from quarterdeck.merge.naming import PYTHON, suffix, too_large
from quarterdeck.merge.python_tree import compiles, syntax
from quarterdeck.merge.tables import unreadable
from quarterdeck.merge.values import Sides

_MOST: Final = 10
_MARKS: Final = re.compile(r"^(?:<{7} |={7}$|>{7} |\|{7} )", re.MULTILINE)
_ENDS: Final = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_NAMES: Final = frozenset(dir(builtins)) | {
    *("__file__", "__name__", "__doc__", "__path__", "__spec__", "__all__", "__class__", "__module__", "__qualname__"),
    *("__package__", "__loader__", "__builtins__", "__annotations__", "__version__"),
}


def objections(sides: Sides, merged: str, *, driven: bool = False) -> tuple[str, ...]:
    """What is wrong with a merged text; nothing = it may count. `driven`: an outside driver made it."""
    if too_large(sides.base, sides.ours, sides.theirs, merged):
        return ()
    base, ours, theirs = sides.base or "", sides.ours or "", sides.theirs or ""
    found = ["it holds marks of a conflict"] if len(_MARKS.findall(merged)) > len(_MARKS.findall(ours + theirs)) else []
    python = suffix(sides.path) in PYTHON
    if python:
        found += _python(ours, theirs, merged, driven=driven)
    else:
        problem = unreadable(suffix(sides.path), merged)
        if problem and not any(unreadable(suffix(sides.path), side) for side in (ours, theirs)):
            found.append(problem)
    found += lost(base, ours, theirs, merged, python=python)
    return tuple(complaint[:300] for complaint in dict.fromkeys(found))[:_MOST]


def _python(ours: str, theirs: str, merged: str, *, driven: bool) -> Iterator[str]:
    before = [tree for tree in (syntax(ours), syntax(theirs)) if isinstance(tree, ast.Module)]
    after = syntax(merged)
    if len(before) < 2:
        if not driven:
            yield "it cannot be checked: one side does not parse here"
        return
    if isinstance(after, str):
        yield f"it does not parse: {after}"
        return
    problem = compiles(merged)
    if problem and not (compiles(ours) or compiles(theirs)):
        yield f"it does not compile: {problem}"
    known = [Counter(_faults(tree)) for tree in before]
    for fault, count in Counter(_faults(after)).items():
        if count > max(seen[fault] for seen in known):
            yield fault
    known_names = [_undefined(tree) for tree in before]
    for name in sorted(_undefined(after) - known_names[0] - known_names[1]):
        yield f"{name} is used, and nothing defines it any more"


def _faults(tree: ast.Module) -> Iterator[str]:
    """Definitions that stand twice, and code that is never reached."""
    for node in ast.walk(tree):
        scope = getattr(node, "name", "") or "the module"
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                yield from _in_block(block, str(scope))
        if isinstance(node, ast.Module | ast.ClassDef):
            yield from _twice([f"{name} in {scope}" for name in _assigned(node.body)], "value of")
        elif isinstance(node, ast.arguments):
            yield from _twice(_arguments(node), "parameter")
        elif isinstance(node, ast.Call):
            yield from _twice([keyword.arg for keyword in node.keywords if keyword.arg], "argument")
        elif isinstance(node, ast.Dict):
            keys = [repr(key.value) for key in node.keys if isinstance(key, ast.Constant)]
            yield from _twice(keys, "key")
        yield from _branches(node, str(scope))
    yield from _chains(tree)


def _in_block(block: Sequence[ast.stmt], scope: str) -> Iterator[str]:
    for statement in block[:-1]:
        if isinstance(statement, _ENDS):
            yield f"in {scope}, code after {type(statement).__name__.lower()} is never reached"
    defined = [node for node in block if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    yield from _twice([f"{node.name} in {scope}" for node in defined if not _belongs(node)], "definition of")
    yield from _overwritten(block, scope)


def _overwritten(block: Sequence[ast.stmt], scope: str) -> Iterator[str]:
    """Values that a later statement of the block replaces before anything reads them."""
    unread: set[str] = set()
    for statement in block:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                unread -= _read(value)
                if name in unread:
                    yield f"in {scope}, a value of {name} is replaced before it is used"
                unread.add(name)
            case _:
                unread -= _read(statement)


def _read(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _branches(node: ast.AST, scope: str) -> Iterator[str]:
    """Branches of one chain with the same condition: the second is never taken."""
    match node:
        case ast.Try(handlers=handlers) | ast.TryStar(handlers=handlers):
            tests = [_shown(each.type) if each.type is not None else "everything" for each in handlers]
            yield from _twice([f"except {test} in {scope}" for test in tests if test], "clause")
        case ast.Match(cases=cases):
            tests = [f"{_shown(each.pattern)} if {_shown(each.guard) if each.guard else True}" for each in cases]
            yield from _twice([f"case {test} in {scope}" for test in tests], "clause")


def _chains(tree: ast.Module) -> Iterator[str]:
    """The same for `if` and its `elif`s."""
    inner: set[ast.If] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.If) or node in inner:
            continue
        tests = [_shown(node.test)]
        while len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
            node = node.orelse[0]
            inner.add(node)
            tests.append(_shown(node.test))
        yield from _twice([f"elif {test}" for test in tests if test], "clause")


def _shown(node: ast.AST) -> str:
    """The source of an expression; empty where it nests too deeply for that."""
    try:
        return ast.unparse(node)
    except RecursionError:
        return ""


def _assigned(block: Sequence[ast.stmt]) -> Iterator[str]:
    """Names that get a value which does not go on from an earlier one: the last of them alone counts."""
    for statement in block:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                if not any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(value)):
                    yield name
            case _:
                pass


def _belongs(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Whether it may share its name: a decorator says so, or the name is nobody's."""
    marks = [mark.func if isinstance(mark, ast.Call) else mark for mark in node.decorator_list]
    names = {mark.attr if isinstance(mark, ast.Attribute) else getattr(mark, "id", "") for mark in marks}
    return node.name == "_" or not names.isdisjoint(SHARING)


def _arguments(node: ast.arguments) -> list[str]:
    every = [*node.posonlyargs, *node.args, *node.kwonlyargs, node.vararg, node.kwarg]
    return [argument.arg for argument in every if argument is not None]


def _twice(names: Sequence[str], what: str) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"the {what} {name} stands {count} times"


def _undefined(tree: ast.Module) -> set[str]:
    """Names that are read and that nothing in the text gives a value, wherever."""
    used: set[str] = set()
    bound: set[str] = set(_NAMES)
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.alias(name="*"):
                return set()
            case ast.alias(name=name, asname=given):
                bound.add(given or name.partition(".")[0])
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                bound.add(name)
            case ast.MatchMapping(rest=str(name)):
                bound.add(name)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                bound.update(names)
    return used - bound
