"""Modules that a tree counts on, though they may not be there where it is looked at.

Rules
- What another file imports already may be generated, compiled or installed elsewhere: the base is not judged.
- A package that the tree declares may just not be installed here. It can bear another name than its modules: where the
  change declares one more, no module that is missing altogether is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

MANIFESTS = re.compile(
    r"(^|/)(pyproject\.toml|setup\.(cfg|py)|Pipfile|tox\.ini|noxfile\.py|environment\.ya?ml|[\w-]*requirements[\w-]*\.(txt|in)"
    r"|requirements/[\w./-]+\.(txt|in))$"
)
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?=[\w.])(\.*)((?:\w[\w.]*)?)[ \t]+import\b|import[ \t]+([\w., ]+))", re.MULTILINE
)
_WORD = re.compile(r"[A-Za-z][\w.-]*\w")


class Known(NamedTuple):
    """What need not be found."""

    modules: frozenset[str]
    """Dotted names, with all that they begin with."""
    declared: frozenset[str]
    """Words of the tree's manifests, as modules are spelled."""
    more: bool = False
    """The change declares a package whose modules can have any name."""

    def excuses(self, module: str, *, there: bool, settled: bool) -> bool:
        """Whether a module that is not found may be there nevertheless.

        `there`: something of the name of its top is; `settled`: that is surely what is meant.
        """
        if module in self.modules:
            return True
        top = module.partition(".")[0].lower()
        return not settled and (top in self.declared or (not there and (self.more or f"py{top}" in self.declared)))


def known(sources: Mapping[str, str], manifests: str = "", before: str = "") -> Known:
    """What these Python files import and these manifests declare. `before`: the manifests of the base."""
    modules: set[str] = set()
    for path, text in sources.items():
        for module in imported(path, text):
            parts = module.split(".")
            modules.update(".".join(parts[:end]) for end in range(1, len(parts) + 1))
    declared = words(manifests)
    return Known(frozenset(modules), declared, not declared <= words(before))


def words(manifests: str) -> frozenset[str]:
    """Every word that may be the name of a package, as a module is spelled."""
    return frozenset(re.sub(r"[-.]", "_", word).lower() for word in _WORD.findall(manifests))


def imported(path: str, source: str) -> Iterator[str]:
    """The modules that a Python file imports; a relative one from each folder that its path may begin at."""
    folders = path.split("/")[:-1]
    for dots, module, plain in _IMPORT.findall(source):
        if plain:
            yield from (item.split()[0] for item in plain.split(",") if item.strip())
        elif not dots:
            yield module
        else:
            parts = [*folders[: len(folders) - len(dots) + 1], *filter(None, module.split("."))]
            yield from (".".join(parts[at:]) for at in range(len(parts) - 1))
