"""What all of the survey asks of a source.

Rules
- A source that cannot be parsed is none.
- Whether a file is a test is told by its name and its folder.
- What stands among tests and is no source is no test: pictures, recorded answers, what a test reads. Neither is a
  source in a folder of such things, unless it is called like a test.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Union

Function = (ast.FunctionDef, ast.AsyncFunctionDef)
AnyFunction = Union[ast.FunctionDef, ast.AsyncFunctionDef]  # noqa: UP007 - evaluated by Python 3.9, too

TESTS = "tests"
"""The survey's question what becomes of tests, where it has to be named."""
MAX_BYTES = 400_000
MAX_LINES = 6_000

TEST_FOLDERS = frozenset(("tests", "test", "__tests__", "spec", "specs", "testdata", "__snapshots__", "e2e"))
TEST_NAMES = re.compile(
    r"^(test_.*\.py|.*_test\.(py|go)|tests?\.py|conftest\.py|.*\.(test|spec)\.[cm]?[jt]sx?|.*_spec\.rb"
    r"|.*Tests?\.(java|kt))$"
)
FIXTURES = frozenset(
    ("data", "testdata", "fixtures", "fixture", "resources", "samples", "examples", "snapshots", "__snapshots__")
)
"""Folders of what tests read."""
SCRIPTS = (".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs")
FOREIGN = (*SCRIPTS, ".go", ".rs")
"""Sources beside Python in which tests are found."""
UNKNOWN = (
    *(".java", ".kt", ".kts", ".scala", ".groovy", ".rb", ".cs", ".fs", ".php", ".swift"),
    *(".ex", ".exs", ".erl", ".c", ".cc", ".cpp", ".m", ".dart", ".lua", ".jl"),
)
"""Sources in which they are not."""


def is_test(path: str) -> bool:
    """Whether this file is a test, or stands among tests."""
    *folders, name = path.split("/")
    return bool(TEST_FOLDERS.intersection(folders) or TEST_NAMES.match(name))


def found_by_name(path: str) -> bool:
    """Whether runners find tests in this file by its name, as they mostly look for them."""
    *folders, name = path.split("/")
    if "__tests__" in folders and name.endswith(SCRIPTS):
        return True
    return name != "conftest.py" and TEST_NAMES.match(name) is not None


def holds_tests(path: str) -> bool:
    """Whether a runner may find tests in this file, and the survey could: by its name, or in Python by its folder."""
    *folders, name = path.split("/")
    if TEST_NAMES.match(name):
        return name.endswith((".py", *FOREIGN))
    return name.endswith(".py") and is_test(path) and not FIXTURES.intersection(folders)


@lru_cache(maxsize=256)
def _read(source: str) -> ast.Module | bool:
    """The source's syntax tree; else whether it nests too deep for one."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    except (RecursionError, MemoryError):
        return True


def parsed(source: str) -> ast.Module | None:
    """The source's syntax tree; None where it is none."""
    found = _read(source)
    return found if isinstance(found, ast.Module) else None


def too_deep(source: str) -> bool:
    """Whether the source has no tree because it nests too deep, at the interpreter's present limit."""
    return _read(source) is True


@lru_cache(maxsize=64)
def levels(tree: ast.AST) -> tuple[tuple[ast.AST, ...], ...]:
    """A syntax tree, level by level. Remembered, because many questions are asked of the same few trees."""
    found: list[tuple[ast.AST, ...]] = []
    level: tuple[ast.AST, ...] = (tree,)
    while level:
        found.append(level)
        level = tuple(_below(level))
    return tuple(found)


def _below(level: Iterable[ast.AST]) -> list[ast.AST]:
    """The children of these nodes, as `ast.iter_child_nodes` gives them, in half of its time."""
    found: list[ast.AST] = []
    for node in level:
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, ast.AST):
                found.append(value)
            elif isinstance(value, list):
                found += [item for item in value if isinstance(item, ast.AST)]
    return found


@lru_cache(maxsize=64)
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """All of a syntax tree, in the order of its levels."""
    return tuple(chain.from_iterable(levels(tree)))


def name_of(node: ast.AST) -> str:
    """What a name, an attribute or a definition is called; "" = nothing."""
    return str(getattr(node, "id", getattr(node, "attr", getattr(node, "name", ""))))


def defined(source: str) -> set[str]:
    """Every function and class that a source defines."""
    tree = parsed(source) if source else None
    return {node.name for node in nodes(tree) if isinstance(node, (*Function, ast.ClassDef))} if tree else set()
