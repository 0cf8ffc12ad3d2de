"""Options of pytest that a change writes into its configuration, and with which fewer tests run.

Rules
- `addopts` is looked at, and what says which files and names are tests, in the files and sections that pytest reads
  them from.
- An option that was there already, with the same value, is the base's affair. What said which files are tests and says
  it no more is told, and so is a new file that keeps pytest from reading the others.
- What leaves out single tests or all of them (`--deselect`, `-k`, `--collect-only`) is told apart from what may be
  housekeeping (`--ignore`, `-m`, a plugin that is turned off or loaded, where tests are looked for).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from quarterdeck.delivery.validation.survey.sources import FOREIGN, TESTS, holds_tests, is_test

FILES = re.compile(r"(^|/)(\.?pytest\.ini|pyproject\.toml|setup\.cfg|tox\.ini|\.?pytest\.toml)$")
_ALONE = re.compile(r"(^|/)\.?pytest\.(?:ini|toml)$")
"""Whatever it holds, pytest reads no other file beside it."""
_SECTION = re.compile(
    r"^\[(?:pytest|tool:pytest|tool\.pytest(?:\.ini_options)?)\][^\n]*\n(.*?)(?=^\[[\w.:\"-]+\]|\Z)", re.M | re.S
)
_ADDOPTS = re.compile(r"^addopts\s*=(.*?)(?=^[\w.-]+\s*=|\Z)", re.M | re.S)
_COMMENT = re.compile(r"^[ \t]*[#;].*$", re.M)
_CHOOSES = re.compile(
    r"^(python_files|python_classes|python_functions|testpaths|norecursedirs)[ \t]*=(.*?)(?=^[\w.-]+[ \t]*=|\Z)",
    re.M | re.S,
)
_OPTION = re.compile(
    r"""(?<![\w-])(?P<option>--deselect|--ignore-glob|--ignore|--collect-only|--co(?![\w-])|-[kmp])"""
    r"""(?:(?:=|\s+|["']\s*,\s*)?(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s"',\]]+))?"""
)
_PLAIN = frozenset(("no:cacheprovider", "no:warnings", "no:logging", "no:faulthandler"))
"""Plugins without which the same tests run."""
_KNOWN = re.compile(r"xdist|cov|pytest_\w+|pytester|randomly|sugar")
"""Plugins that are no part of a tree."""
_SHOWN = 100


def judges(path: str) -> bool:
    """Whether that file, or that question of the survey, says which tests there are and what they hold."""
    return path == TESTS or holds_tests(path) or FILES.search(path) is not None


def looked_into(path: str) -> bool:
    """Whether the survey looks at more of such a file than its layout."""
    return path.endswith(".py") or (is_test(path) and path.endswith(FOREIGN)) or FILES.search(path) is not None


def narrows(path: str, old: str, new: str) -> Iterator[tuple[str, str]]:
    """`deselects` or `narrows`, and the option: of a file that becomes another one."""
    if not FILES.search(path):
        return
    before = set(_found(old))
    found = dict.fromkeys(each for each in _found(new) if each not in before)
    yield from found
    kept = set(_chosen(new))
    yield from (("narrows", f"{key} (no longer set)") for key in dict.fromkeys(_chosen(old)) if key not in kept)
    if not old and not found and _ALONE.search(path):
        yield "narrows", path.rpartition("/")[2]


def _chosen(source: str) -> Iterator[str]:
    """What is said of which files and names are tests."""
    for section in _SECTION.findall(source):
        yield from (key for key, _ in _CHOOSES.findall(_COMMENT.sub("", section)))


def _found(source: str) -> Iterator[tuple[str, str]]:
    for section in _SECTION.findall(source):
        for key, value in _CHOOSES.findall(_COMMENT.sub("", section)):
            yield "narrows", f"{key} = {' '.join(value.split())[:_SHOWN]}"
        for given in _ADDOPTS.findall(_COMMENT.sub("", section)):
            for match in _OPTION.finditer(given):
                option, value = match["option"], (match["value"] or "").strip("\"'")
                if option in ("--collect-only", "--co"):
                    yield "deselects", option
                elif option == "-p":
                    if value and value not in _PLAIN and not _KNOWN.fullmatch(value):
                        yield "narrows", f"{option} {value}"
                elif value:
                    yield ("deselects" if option in ("--deselect", "-k") else "narrows"), f"{option} {value}"
