"""Needless abstraction: what a change added and what abstracts from nothing.

Rules
- A class without bases whose only method is used at one place; a function that only forwards its arguments, to another
  function or one of a module; an abstract class with at most one implementation, a protocol with just one.
- A protocol without any describes what comes from elsewhere, a metaclass is no abstract class, and whoever forwards to
  the method of a value names that value.
- Uses and implementations are looked for in the whole tree; tests do not count as uses.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from quarterdeck.delivery.validation.survey.sources import AnyFunction, Function, is_test, name_of, nodes, parsed


def needless(path: str, old: str, new: str, sources: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Lines and what on them abstracts from nothing. `sources`: the Python files of the tree."""
    tree, before = parsed(new), parsed(old)
    had = {name_of(node) for node in before.body} if before else set()
    imports = {
        (alias.asname or alias.name).split(".")[0]
        for node in (nodes(tree) if tree else ())
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in tree.body if tree else ():
        if name_of(node) in had:
            continue
        if isinstance(node, ast.ClassDef):
            yield from ((node.lineno, what) for what in _class(node, sources))
        elif isinstance(node, Function) and (called := _forwards(node, imports)):
            yield node.lineno, f"`{node.name}` only forwards its arguments to `{called}`"


def _class(node: ast.ClassDef, sources: Mapping[str, str]) -> Iterator[str]:
    methods = [inner.name for inner in node.body if isinstance(inner, Function)]
    bases = {name_of(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases}
    metaclass = {name_of(keyword.value) for keyword in node.keywords}
    if bases & {"ABC", "Protocol"} or "ABCMeta" in metaclass:
        count = _implementations(node.name, set(methods), sources)
        if count == 1 or (count == 0 and "Protocol" not in bases):
            yield f"`{node.name}` is an abstraction with {'one implementation' if count else 'no implementation'}"
        return
    real = [name for name in methods if name != "__init__"]
    if node.bases or node.keywords or node.decorator_list or len(real) != 1 or real[0].startswith("__"):
        return
    word = re.compile(rf"\b{re.escape(node.name)}\b")
    aside = re.compile(rf"\s*(from|import|class {re.escape(node.name)}\b|#)")
    rows = [row for path, text in sources.items() if not is_test(path) for row in text.splitlines()]
    if sum(len(word.findall(row)) for row in rows if not aside.match(row)) == 1:
        yield f"the class `{node.name}` has one method (`{real[0]}`) and is used once: a function would do"


def _implementations(name: str, methods: set[str], sources: Mapping[str, str]) -> int:
    count = 0
    for text in sources.values():
        if name not in text and not (methods and all(method in text for method in methods)):
            continue
        tree = parsed(text)
        for other in nodes(tree) if tree else ():
            if isinstance(other, ast.ClassDef) and other.name != name:
                bases = [base.value if isinstance(base, ast.Subscript) else base for base in other.bases]
                own = {inner.name for inner in other.body if isinstance(inner, Function)}
                count += name in map(name_of, bases) or (bool(methods) and methods <= own)
    return count


def _forwards(node: AnyFunction, imports: set[str]) -> str:
    """What a function does nothing but call, with just its own parameters; "" = it does more."""
    body = [n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    given = node.args
    if len(body) != 1 or not isinstance(body[0], ast.Return) or node.decorator_list or given.defaults:
        return ""
    call = body[0].value.value if isinstance(body[0].value, ast.Await) else body[0].value
    if not isinstance(call, ast.Call) or not isinstance(call.func, (ast.Name, ast.Attribute)):
        return ""
    if isinstance(call.func, ast.Attribute) and name_of(call.func.value) not in imports:
        return ""
    wanted = [a.arg for a in [*given.posonlyargs, *given.args]] + ([f"*{given.vararg.arg}"] if given.vararg else [])
    passed = [f"*{name_of(a.value)}" if isinstance(a, ast.Starred) else name_of(a) for a in call.args]
    expected = [(a.arg, a.arg) for a in given.kwonlyargs] + ([("**", given.kwarg.arg)] if given.kwarg else [])
    named = [(keyword.arg or "**", name_of(keyword.value)) for keyword in call.keywords]
    same = passed == wanted and named == expected and bool(wanted or expected)
    return ast.unparse(call.func) if same else ""
