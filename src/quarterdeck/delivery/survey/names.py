"""Names that resolve nowhere: modules that are not there, names that a module does not have, names never bound.

Rules
- What stands under a `try` with handlers, or under a condition on what there is, may fail on purpose.
- Which names a scope has is what the interpreter's own compiler says.
- Where one star import, `exec` or the like could bring any name, nothing is said.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from collections import Counter
from collections.abc import Iterator

from quarterdeck.delivery.survey.places import Places, absolute
from quarterdeck.delivery.survey.sources import parsed

_ASKS = re.compile(r"TYPE_CHECKING|version_info|platform|hasattr|find_spec|HAS_|HAVE_")


def invented(path: str, source: str, places: Places, known: set[str]) -> Iterator[tuple[int, str]]:
    """Lines and what on them resolves nowhere. `known`: modules that other files of the tree import already."""
    tree = parsed(source)
    if tree is None:
        return
    guarded = _guarded(tree)
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                if places.has(alias.name):
                    if alias.asname or "." not in alias.name:
                        modules[alias.asname or alias.name] = alias.name
                elif alias.name.split(".")[0] not in known:
                    yield node.lineno, f"there is no module `{alias.name}`"
        elif isinstance(node, ast.ImportFrom):
            yield from _from(node, ".".join(path[:-3].split("/")[:-1]), places, known)
    yield from _attributes(tree, modules, guarded, places)
    yield from _unbound(path, source, tree, guarded)


def _from(node: ast.ImportFrom, package: str, places: Places, known: set[str]) -> Iterator[tuple[int, str]]:
    module = absolute(node, package)
    if not module:
        return
    if not places.has(module):
        if node.level or module.split(".")[0] not in known:
            yield node.lineno, f"there is no module `{module}`"
        return
    for alias in node.names:
        if alias.name != "*" and places.lacks(module, alias.name):
            yield node.lineno, f"`{module}` has no name `{alias.name}`"


def _attributes(
    tree: ast.Module, modules: dict[str, str], guarded: set[int], places: Places
) -> Iterator[tuple[int, str]]:
    bound: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound[node.id] += 1
        elif isinstance(node, ast.arg):
            bound[node.arg] += 1
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)) or id(node) in guarded:
            continue
        name = node.value.id if isinstance(node.value, ast.Name) else ""
        # A name that is bound twice may be something else where it stands.
        if bound[name] == 1 and name in modules and places.lacks(modules[name], node.attr):
            yield node.lineno, f"`{modules[name]}` has no name `{node.attr}`"


def _guarded(tree: ast.Module) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(tree):
        asks = isinstance(node, ast.If) and _ASKS.search(ast.dump(node.test))
        if asks or (isinstance(node, ast.Try) and node.handlers):
            found.update(id(inner) for inner in ast.walk(node))
    return found


def _unbound(path: str, source: str, tree: ast.Module, guarded: set[int]) -> Iterator[tuple[int, str]]:
    stars = (n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.names[0].name == "*")
    if any(stars) or re.search(r"\bexec\(|\bglobals\(\)|\blocals\(\)", source):
        return
    try:
        top = symtable.symtable(source, path, "exec")
    except (SyntaxError, ValueError, RecursionError):
        return
    have = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    wanted: set[str] = set()
    waiting = [top]
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_declared_global() and symbol.is_assigned():
                have.add(symbol.get_name())
            elif symbol.is_referenced() and (symbol.is_global() or table is top):
                wanted.add(symbol.get_name())
    missing = wanted - have - set(dir(builtins))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Name)
            and node.id in missing
            and not node.id.startswith("__")
            and id(node) not in guarded
        ):
            missing.discard(node.id)
            yield node.lineno, f"the name `{node.id}` is defined nowhere"
