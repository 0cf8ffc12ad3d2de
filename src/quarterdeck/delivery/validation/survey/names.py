"""Names that resolve nowhere: modules that are not there, names that a module does not have, names never bound.

Rules
- What the source asks about may fail on purpose: under a `try` with handlers, under a condition on what there is or
  behind one that leaves, in a test that is skipped elsewhere, where a failure is expected.
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

from quarterdeck.delivery.validation.survey.conditions import holds
from quarterdeck.delivery.validation.survey.imports import Known
from quarterdeck.delivery.validation.survey.places import Places, absolute
from quarterdeck.delivery.validation.survey.sources import Function, name_of, nodes, parsed

_ASKS = re.compile(
    r"TYPE_CHECKING|(?i:version|platform|python_implementation|hasattr|getattr|find_spec|is_installed)"
    r"|\b_?(HAS|HAVE|PY|IS|WIN|WINDOWS|MAC|MACOS|LINUX|POSIX|CYTHON|PYPY)(_|\d|\b)|_AVAILABLE|_INSTALLED|_PLUS\b"
)
_SKIPS = re.compile(r"skip|xfail|requires|expectedFailure")
_EXPECTS = re.compile(r"ImportError|ModuleNotFoundError|AttributeError|NameError|Exception|deprecat", re.IGNORECASE)
_AMBIENT = frozenset(("_", "reveal_type", "reveal_locals", "get_ipython", "WindowsError"))
"""Names that type checkers, notebooks, translators and other machines bring."""


def invented(path: str, source: str, places: Places, known: Known) -> Iterator[tuple[int, str]]:
    """Lines and what on them resolves nowhere."""
    tree = parsed(source)
    if tree is None:
        return
    guarded = _guarded(tree)
    modules: dict[str, str] = {}
    for node in nodes(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _there(alias.name, places, known):
                    if alias.asname or "." not in alias.name:
                        modules[alias.asname or alias.name] = alias.name
                else:
                    yield node.lineno, f"there is no module `{alias.name}`"
        elif isinstance(node, ast.ImportFrom):
            yield from _from(node, ".".join(path.split("/")[:-1]), places, known)
    yield from _attributes(tree, modules, guarded, places)
    yield from _unbound(path, source, tree, guarded)


def _there(module: str, places: Places, known: Known) -> bool:
    top = module.partition(".")[0]
    return places.has(module) or known.excuses(module, there=places.has(top), settled=places.settles(top))


def _from(node: ast.ImportFrom, package: str, places: Places, known: Known) -> Iterator[tuple[int, str]]:
    module = absolute(node, package)
    if not module:
        return
    if not _there(module, places, known):
        yield node.lineno, f"there is no module `{module}`"
        return
    for alias in node.names:
        if alias.name != "*" and places.lacks(module, alias.name) and f"{module}.{alias.name}" not in known.modules:
            yield node.lineno, f"`{module}` has no name `{alias.name}`"


def _attributes(
    tree: ast.Module, modules: dict[str, str], guarded: set[int], places: Places
) -> Iterator[tuple[int, str]]:
    bound: Counter[str] = Counter()
    given: set[str] = set()
    for node in nodes(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound[node.id] += 1
        elif isinstance(node, ast.arg):
            bound[node.arg] += 1
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            given.add(node.attr)
        elif isinstance(node, ast.Call) and name_of(node.func) in ("hasattr", "getattr", "setattr", "patch", "object"):
            # It is asked for, or put there.
            given.update(str(a.value).rpartition(".")[2] for a in node.args if isinstance(a, ast.Constant))
    for node in nodes(tree):
        if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)) or id(node) in guarded:
            continue
        name = node.value.id if isinstance(node.value, ast.Name) else ""
        # A name that is bound twice may be something else where it stands.
        if bound[name] != 1 or name not in modules or node.attr in given:
            continue
        if places.lacks(modules[name], node.attr):
            yield node.lineno, f"`{modules[name]}` has no name `{node.attr}`"


def _guarded(tree: ast.Module) -> set[int]:
    """The nodes that may fail on purpose."""
    found: set[int] = set()
    for node in nodes(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            for each in _behind(body) if isinstance(body, list) else ():
                found.update(id(inner) for inner in ast.walk(each))
        if isinstance(node, (ast.If, ast.IfExp)):
            guards = _asks(node.test)
        elif isinstance(node, ast.BoolOp):
            guards = _asks(node.values[0])
        elif isinstance(node, ast.Try):
            guards = bool(node.handlers)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            guards = any(_expects(item.context_expr) for item in node.items)
        elif isinstance(node, (*Function, ast.ClassDef)):
            guards = any(_SKIPS.search(ast.dump(mark)) for mark in node.decorator_list)
        else:
            continue
        if guards:
            found.update(id(inner) for inner in ast.walk(node))
    return found


def _asks(test: ast.expr) -> bool:
    return holds(test) is not None or any(_ASKS.search(name_of(node)) for node in ast.walk(test))


def _behind(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that are only come to where a condition on what there is lets them."""
    for at, node in enumerate(body):
        if isinstance(node, (ast.Assert, ast.If)) and _asks(node.test):
            leaves = isinstance(node, ast.Assert) or any(_leaves(each[-1]) for each in (node.body, node.orelse) if each)
            if leaves:
                return body[at + 1 :]
    return []


def _leaves(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return name_of(node.value.func) in ("skip", "exit", "_exit")
    return isinstance(node, (ast.Return, ast.Raise, ast.Continue, ast.Break))


def _expects(context: ast.expr) -> bool:
    call = isinstance(context, ast.Call) and name_of(context.func) in ("raises", "assertRaises", "suppress", "warns")
    return call and bool(_EXPECTS.search(ast.dump(context)))


def _unbound(path: str, source: str, tree: ast.Module, guarded: set[int]) -> Iterator[tuple[int, str]]:
    stars = (n for n in nodes(tree) if isinstance(n, ast.ImportFrom) and n.names[0].name == "*")
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
            # Up to Python 3.12 what a function called `top` binds itself is said to be global, too.
            elif symbol.is_referenced() and (table is top or (symbol.is_global() and not symbol.is_local())):
                wanted.add(symbol.get_name())
    missing = wanted - have - set(dir(builtins)) - _AMBIENT
    for node in nodes(tree):
        if not isinstance(node, ast.Name) or id(node) in guarded:
            continue
        if node.id in missing and not node.id.startswith("__"):
            missing.discard(node.id)
            yield node.lineno, f"the name `{node.id}` is defined nowhere"
