"""What stands around the tests that were there: what else in a test file can make them pass.

Rules
- Of a test file everything counts but its tests: what it imports, what its classes hold, what it does when it is
  loaded. A class that came with its tests does not count: no test that was there is in it.
- A file among tests that has no tests itself stands around those in its folder and below.
- Whether tests pass because of it is found out by running them. It is only named where something that was there
  became something else, or where the file does more than define things when it is loaded.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from quarterdeck.delivery.validation.survey.sources import Function, is_test, parsed
from quarterdeck.delivery.validation.survey.tests import find_tests

_IMPORTS = (ast.Import, ast.ImportFrom)


def disturbed(files: Iterable[tuple[str, str, str]], sources: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    """Path, name and silence of tests around which something changed.

    `files`: path, old source, new source; `sources`: the Python files of the tree as it is now.
    """
    changed = [file for file in files if file[0].endswith(".py")]
    folders = []
    for path, old, new in changed:
        if is_test(path) and list(_frame(path, old, new).values()) != list(_frame(path, new, old).values()):
            was, now = find_tests(path, old), find_tests(path, new)
            yield from ((path, name, now[name].silence) for name in was if name in now)
            folders += [] if was or now else [path.rpartition("/")[0]]
    touched = {path for path, _, _ in changed}
    for path, source in sources.items():
        if path not in touched and is_test(path) and any(_below(path, folder) for folder in folders):
            yield from ((path, name, test.silence) for name, test in find_tests(path, source).items())


def loud(path: str, old: str, new: str) -> bool:
    """Whether what stands around tests has to be looked at, whatever becomes of them."""
    if not (is_test(path) and path.endswith(".py") and old and new):
        return False
    before, after = _frame(path, old, new), _frame(path, new, old)
    had, has = set(before.values()), set(after.values())
    lost = (node for node, text in before.items() if text not in has and not isinstance(node, _IMPORTS))
    came = (node for node, text in after.items() if text not in had and not _defines(node))
    return any(True for _ in lost) or any(True for _ in came)


def _frame(path: str, source: str, other: str) -> dict[ast.stmt, str]:
    """The statements of a test file without its tests, and without classes that have tests and are not in the other."""
    tree = parsed(source)
    known = {name.partition("::")[0] for name in find_tests(path, other)}
    tests: dict[str, set[str]] = {}
    for name in find_tests(path, source):
        owner, _, method = name.partition("::")
        tests.setdefault(owner, set()).add(method)
    found: dict[ast.stmt, str] = {}
    for node in tree.body if tree else ():
        own = tests.get(node.name) if isinstance(node, (*Function, ast.ClassDef)) else None
        if own is None:
            found[node] = ast.dump(node)
        elif isinstance(node, ast.ClassDef) and node.name in known:
            rest = [each for each in node.body if not (isinstance(each, Function) and each.name in own)]
            head = [*node.bases, *node.keywords, *node.decorator_list]
            found[node] = "\n".join([node.name, *map(ast.dump, [*head, *rest])])
    return found


def _below(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


def _defines(node: ast.stmt) -> bool:
    """Whether a statement does nothing but give a name to something."""
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) for target in node.targets)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name)
    told = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return told or isinstance(node, (*_IMPORTS, *Function, ast.ClassDef))
