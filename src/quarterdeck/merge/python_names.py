"""What has a name in a Python text, by the compiler's own tree: faster than `python_tree`, which spells all of it.

Rules
- Functions, classes, methods, imports and assignments, also below a condition; nothing inside a function.
- The comments right above belong to what they stand above.
- A class is made of its header and of what is neither a definition, an import nor an assignment in it.
- Nothing recurses: a chain of `elif` nests as deep as it is long.
- What the compiler may take long for has no names here: the deck reads texts of agents beside all of its other work.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from quarterdeck.merge.nesting import soon_read
from quarterdeck.merge.python_tree import syntax
from quarterdeck.merge.values import Entity

_KEPT: Final = 16
"""Texts whose names are remembered: what one change is built on, the next one is too."""
_BRACKETS: Final = ("[", "(", "{")
_Function = (ast.FunctionDef, ast.AsyncFunctionDef)
_Place = tuple[ast.AST, str, bool]
"""A node, the dotted name around it, and whether that is a class's."""
_BLOCKS: Final = ("body", "handlers", "cases", "orelse", "finalbody")


@dataclass(frozen=True, slots=True)
class Named:
    """An entity, and its text without that of entities inside."""

    entity: Entity
    own: str


@lru_cache(maxsize=_KEPT)
def named(text: str) -> tuple[Named, ...]:
    """What has a name in a text, in order; nothing where it does not parse, or may take long to."""
    if not soon_read(text):
        return ()
    module = syntax(text)
    if isinstance(module, str):
        return ()
    return tuple(_of(module, text.split("\n")))


def _of(module: ast.Module, lines: Sequence[str]) -> Iterator[Named]:
    waiting: list[_Place] = [(node, "", False) for node in reversed(module.body)]
    while waiting:
        node, where, in_class = waiting.pop()
        if isinstance(node, _Function):
            yield _whole(node, _dotted(where, node.name), "method" if in_class else "function", lines)
        elif isinstance(node, ast.ClassDef):
            name = _dotted(where, node.name)
            yield Named(_entity(node, name, "class", lines), _outside_of_entities(node, lines))
            waiting += [(inner, name, True) for inner in reversed(node.body)]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield _whole(node, _dotted(where, _imported(node)), "import", lines)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            kind = "list" if _is_list(node, lines) else "assignment"
            yield _whole(node, _dotted(where, _target(node, lines)), kind, lines)
        else:
            blocks = [inner for block in _BLOCKS for inner in getattr(node, block, ()) if isinstance(inner, ast.AST)]
            waiting += [(inner, where, in_class) for inner in reversed(blocks)]


def _dotted(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _whole(node: ast.stmt, name: str, kind: str, lines: Sequence[str]) -> Named:
    first, last = _span(node)
    return Named(_entity(node, name, kind, lines), "\n".join(lines[first - 1 : last]))


def _entity(node: ast.stmt, name: str, kind: str, lines: Sequence[str]) -> Entity:
    first, last = _span(node)
    while first > 1 and lines[first - 2].lstrip().startswith("#"):
        first -= 1
    return Entity(name, kind, first, last)


def _span(node: ast.stmt) -> tuple[int, int]:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min((node.lineno, *(mark.lineno for mark in decorators))), node.end_lineno or node.lineno


def _outside_of_entities(node: ast.ClassDef, lines: Sequence[str]) -> str:
    first, _ = _span(node)
    parts = ["\n".join(lines[first - 1 : max(node.lineno, node.body[0].lineno - 1)])]
    simple = (ast.Expr, ast.Pass, ast.Delete, ast.Assert, ast.Raise, ast.Global, ast.Nonlocal)
    parts += ["\n".join(lines[_span(one)[0] - 1 : _span(one)[1]]) for one in node.body if isinstance(one, simple)]
    return "\n".join(parts)


def _imported(node: ast.Import | ast.ImportFrom) -> str:
    if isinstance(node, ast.ImportFrom):
        return f"from {'.' * node.level}{node.module or ''}"
    return "import " + ",".join(name.name + (f"as{name.asname}" if name.asname else "") for name in node.names)


def _target(node: ast.Assign | ast.AnnAssign | ast.AugAssign, lines: Sequence[str]) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    name = "".join(_text(target, lines).split())
    return name + _after(target, lines).partition("=")[0].strip() + "=" if isinstance(node, ast.AugAssign) else name


def _is_list(node: ast.Assign | ast.AnnAssign | ast.AugAssign, lines: Sequence[str]) -> bool:
    if isinstance(node, ast.AugAssign) or node.value is None:
        return False
    rest = _after(node.targets[-1] if isinstance(node, ast.Assign) else node.annotation, lines).lstrip(" \t)")
    return rest.startswith("=") and rest[1:].lstrip().startswith(_BRACKETS)


def _text(node: ast.expr, lines: Sequence[str]) -> str:
    """The text of an expression. The compiler counts bytes."""
    part = [line.encode() for line in lines[node.lineno - 1 : node.end_lineno]]
    part[-1] = part[-1][: node.end_col_offset]
    part[0] = part[0][node.col_offset :]
    return b"\n".join(part).decode()


def _after(node: ast.expr, lines: Sequence[str]) -> str:
    """The rest of the line that an expression ends on."""
    return lines[(node.end_lineno or node.lineno) - 1].encode()[node.end_col_offset :].decode()
