"""What is wrong with a merged text that neither side had wrong.

Rules
- A union may hold a definition twice, or put code where it is never reached: such a text must not count, even where the
  tests are green.
- Only what is new is said: what one side had already is that side's own.
- Each complaint names the thing in one short sentence.
- Definitions that belong together (overloads, a property and its setter, registered or conditional ones) do not count.
- A word that a side added and that the result has fewer times than it should is a lost line.
"""

import ast
import builtins
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from quarterdeck.merge.lines import split
from quarterdeck.merge.naming import PYTHON, suffix, too_large
from quarterdeck.merge.python_tree import syntax
from quarterdeck.merge.values import Sides

_MOST: Final = 10
_MARKS: Final = re.compile(r"^(?:<{7} |={7}$|>{7} |\|{7} )", re.MULTILINE)
_WORD: Final = re.compile(r"\w+")
_ENDS: Final = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_SHARED: Final = frozenset({"overload", "property", "cached_property", "getter", "setter", "deleter", "register"})
_NAMES: Final = frozenset(dir(builtins)) | {
    *("__file__", "__name__", "__doc__", "__path__", "__spec__", "__all__", "__class__", "__module__", "__qualname__"),
    *("__package__", "__loader__", "__builtins__", "__annotations__", "__version__"),
}


def objections(sides: Sides, merged: str) -> tuple[str, ...]:
    """What is wrong with a merged text; nothing = it may count."""
    if too_large(sides.base, sides.ours, sides.theirs, merged):
        return ()
    base, ours, theirs = sides.base or "", sides.ours or "", sides.theirs or ""
    found = ["it holds marks of a conflict"] if len(_MARKS.findall(merged)) > len(_MARKS.findall(ours + theirs)) else []
    if suffix(sides.path) in PYTHON:
        found += _python(ours, theirs, merged)
    found += _lost(base, ours, theirs, merged)
    return tuple(dict.fromkeys(found))[:_MOST]


def _python(ours: str, theirs: str, merged: str) -> Iterator[str]:
    before = [tree for tree in (syntax(ours), syntax(theirs)) if isinstance(tree, ast.Module)]
    after = syntax(merged)
    if len(before) < 2:
        return
    if isinstance(after, str):
        yield f"it does not parse: {after}"
        return
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


def _in_block(block: Sequence[ast.stmt], scope: str) -> Iterator[str]:
    for statement in block[:-1]:
        if isinstance(statement, _ENDS):
            yield f"in {scope}, code after {type(statement).__name__.lower()} is never reached"
    defined = [node for node in block if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    yield from _twice([f"{node.name} in {scope}" for node in defined if not _belongs(node)], "definition of")


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
    return node.name == "_" or not names.isdisjoint(_SHARED)


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


def _lost(base: str, ours: str, theirs: str, merged: str) -> Iterator[str]:
    """Lines that a side added and whose words are not all there."""
    words = [Counter(_WORD.findall(text)) for text in (base, ours, theirs, merged)]
    lines = {line.strip() for line in split(merged)}
    old = {line.strip() for line in split(base)}
    for mine, other, side in ((words[1], words[2], ours), (words[2], words[1], theirs)):
        short = {
            word
            for word, count in (mine - words[0]).items()
            if words[3][word] < mine[word] - max(0, words[0][word] - other[word])
        }
        if not short:
            continue
        for line in split(side):
            bare = line.strip()
            if bare and bare not in old and bare not in lines and short & set(_WORD.findall(bare)):
                yield f"the line `{bare[:80]}` of one side is lost"
