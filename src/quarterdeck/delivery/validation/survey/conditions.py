"""Conditions on the interpreter and the machine, as far as they can be told here.

Rules
- Only what is made of `sys`, `os.name`, `platform` and constants is told: nothing else of the source is looked at.
"""

from __future__ import annotations

import ast
import os
import platform
import sys
from typing import Optional

_NAMES = {"sys": sys, "os": os, "platform": platform}
_FACTS = frozenset(["version_info", "platform", "major", "minor", "implementation", "name", "maxsize", "byteorder"])
_CALLS = frozenset(["startswith", "system", "machine", "python_implementation"])
_NODES = (
    *(ast.Constant, ast.Tuple, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Call, ast.Compare, ast.BoolOp),
    *(ast.UnaryOp, ast.Not, ast.USub, ast.boolop, ast.cmpop, ast.expr_context),
)


def holds(test: ast.expr) -> Optional[bool]:  # noqa: UP045 - evaluated by Python 3.9, too
    """Whether a condition is true here; None = that is not known."""
    if not all(_harmless(node) for node in ast.walk(test)):
        return None
    try:
        return bool(eval(compile(ast.Expression(test), "", "eval"), {"__builtins__": {}, **_NAMES}))
    except Exception:  # noqa: BLE001 - a condition that cannot be told is not known, for whatever reason
        return None


def _harmless(node: ast.AST) -> bool:
    """Whether this part of an expression only compares facts of the machine."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr in _CALLS and not node.keywords
    if isinstance(node, ast.Attribute):
        return node.attr in _FACTS | _CALLS
    if isinstance(node, ast.Name):
        return node.id in _NAMES
    return isinstance(node, _NODES)
