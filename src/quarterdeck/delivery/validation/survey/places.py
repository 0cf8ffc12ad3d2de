"""Where names can come from: the files of the tree, and the interpreter's own path.

Rules
- A module of the tree is found by the end of its path: from which folder it is imported is not known here. Where that
  end begins within a package, or is a folder without modules of its own, somebody else's module may be meant.
- Modules are read, not run; only the interpreter's own library is imported.
- A module that makes its names at run time has every name.
- What the interpreter's library has on another system is there.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder

from quarterdeck.delivery.validation.survey.sources import MAX_BYTES, Function, parsed

_GLOBAL = re.compile(r"^(.*[;:])?[ \t\f]*global\s", re.MULTILINE)
_DYNAMIC = re.compile(r"\bglobals\(\)|\bvars\(\)|\bsetattr\(|sys\.modules\[|lazy_loader|lazy_import|_LazyModule")
_QUIET = frozenset(("this", "antigravity", "idlelib", "turtle", "turtledemo"))
"""Modules that do something when they are imported."""
_LIBRARY = frozenset(getattr(sys, "stdlib_module_names", ()))
_ELSEWHERE = re.compile(
    r"asyncio\.(ProactorEventLoop|IocpProactor|Windows\w+Policy)|select\.(kqueue|kevent|devpoll|KQ_\w+)"
    r"|ctypes\.(windll|oledll|WinDLL|OleDLL|WINFUNCTYPE|HRESULT|WinError|FormatError|GetLastError|[gs]et_last_error)"
    r"|os\.(startfile|add_dll_directory|list(drives|volumes|mounts)|l?chflags|lchmod|[gs]et_handle_inheritable"
    r"|O_(BINARY|TEXT|NOINHERIT|RANDOM|SEQUENTIAL|TEMPORARY|SHORT_LIVED|EXLOCK|SHLOCK|EVTONLY|SYMLINK))"
    r"|signal\.(CTRL_(C|BREAK)_EVENT|SIGBREAK|SIGINFO|SIGEMT)|socket\.(SIO_\w+|RCVALL\w*|SO_EXCLUSIVEADDRUSE|AF_SYSTEM)"
    r"|subprocess\.(STARTUPINFO|STARTF_\w+|SW_HIDE|CREATE_\w+|DETACHED_PROCESS|STD_\w+_HANDLE|\w+_PRIORITY_CLASS)"
    r"|sys\.(getwindowsversion|winver|dllhandle|pypy_\w+|getandroidapilevel)|errno\.WSA\w+|fcntl\.F_FULLFSYNC"
)
"""Names of the library that are only there on other systems than Linux, or in another interpreter."""


class Places:
    """Which modules there are and which names they have."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """`sources`: the Python files of the tree."""
        self._sources = sources
        self._tree: dict[str, list[str]] = {}
        self._names: dict[str, set[str] | None] = {}
        self._packages = {path.rpartition("/")[0] for path in sources if path.endswith("/__init__.py")}
        for path in sources:
            parts = path.rpartition(".")[0].split("/")
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            for at in range(len(parts)):
                self._tree.setdefault(".".join(parts[at:]), []).append(path)
                for end in range(at + 1, len(parts)):
                    self._tree.setdefault(".".join(parts[at:end]), [])

    def has(self, module: str) -> bool:
        """Whether there is, or may be, a module of that dotted name."""
        if module in self._tree or module in _LIBRARY or _spec(module) is not None:
            return True
        parent, _, last = module.rpartition(".")
        if not parent or not self.has(parent) or self._tree.get(parent) == []:
            return False
        names = self._of(parent)  # `os.path` is no file, but a name
        return names is None or last in names

    def lacks(self, module: str, name: str) -> bool:
        """Whether the module certainly has no such name."""
        names = self._of(module)
        if names is None or name in names or (name.startswith("__") and name.endswith("__")):
            return False
        return not _ELSEWHERE.fullmatch(f"{module}.{name}") and not self.has(f"{module}.{name}")

    def settles(self, module: str) -> bool:
        """Whether what is found under that name is surely what is meant by it."""
        return module in _LIBRARY or _spec(module) is not None or self._mine(module)

    def _mine(self, module: str) -> bool:
        """Whether the tree has that module where it is called so, and not by a longer name."""
        depth = module.count(".") + 1
        for path in self._tree.get(module, ()):
            parts = path.removesuffix("/__init__.py").split("/")
            if "/".join(parts[:-depth]) not in self._packages:
                return True
        return False

    def _of(self, module: str) -> set[str] | None:
        """Its names; None = any."""
        if module not in self._names:
            self._names[module] = None  # while it is looked at: modules import each other
            self._names[module] = self._look(module)
        return self._names[module]

    def _look(self, module: str) -> set[str] | None:
        # The end of a path may be somebody else's name: a `types.py` of the tree does not hide the interpreter's.
        found = [self._bound(self._sources[path], path, module) for path in self._tree.get(module, ())]
        if module.split(".", maxsplit=1)[0] in _LIBRARY:
            found.append(_standard(module))
        elif (spec := _spec(module)) is not None:
            found.append(self._installed(spec, module))
        elif not self._mine(module):
            return None
        known = [names for names in found if names is not None]
        return set().union(*known) if known and len(known) == len(found) else None

    def _installed(self, spec: ModuleSpec, module: str) -> set[str] | None:
        if not spec.origin or not spec.origin.endswith(".py"):
            return None
        with contextlib.suppress(OSError, ValueError), open(spec.origin, encoding="utf-8") as file:  # noqa: PTH123 - stdlib 3.9
            return self._bound(file.read(MAX_BYTES * 4), spec.origin, module)
        return None

    def _bound(self, source: str, path: str, module: str) -> set[str] | None:
        tree = parsed(source)
        if tree is None or _DYNAMIC.search(source):
            return None
        names: set[str] = set()
        package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
        for node in _outer(tree, inner=_GLOBAL.search(source) is not None):
            if isinstance(node, (*Function, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Global):
                names.update(node.names)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                    more = self._of(absolute(node, package))
                    if more is None:
                        return None
                    names |= more
                names.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
        return None if "__getattr__" in names else names


def _spec(module: str) -> ModuleSpec | None:
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
        for at in range(len(rest)):
            if spec is None or spec.submodule_search_locations is None:
                return None
            # Not `find_spec` of the whole name: that would import the parents.
            full, folders = ".".join([top, *rest[: at + 1]]), list(spec.submodule_search_locations)
            try:
                spec = PathFinder.find_spec(full, folders)
            except KeyError:  # a package without `__init__.py` within one that is not imported
                spec = ModuleSpec(full, None, is_package=True)
                spec.submodule_search_locations = [os.path.join(each, rest[at]) for each in folders]  # noqa: PTH118 - stdlib
    except (ImportError, ValueError, AttributeError, OSError):
        return None
    return spec


def _standard(module: str) -> set[str] | None:
    if module.split(".", maxsplit=1)[0] in _QUIET:
        return None
    with contextlib.suppress(ImportError, OSError), contextlib.redirect_stdout(io.StringIO()):
        return set(dir(importlib.import_module(module)))
    return None


def _outer(tree: ast.Module, *, inner: bool) -> Iterator[ast.AST]:
    """The nodes that bind names of the module: what is in no function or class, and every `global`.

    `inner`: there may be a `global` in a function or class.
    """
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            yield node
            if isinstance(node, (*Function, ast.ClassDef, ast.Lambda)):
                yield from (below for below in ast.walk(node) if isinstance(below, ast.Global)) if inner else ()
            else:
                waiting.append(node)


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that `from … import` names, seen from a package."""
    parts = package.split(".") if package else []
    base = parts[: max(0, len(parts) - node.level + 1)] if node.level else []
    return ".".join([*base, *([node.module] if node.module else [])])
