"""How risky a plan or a change is, and why. Pure.

Rules
- Risk is what a person would want to have seen before it happens, named in words; the level is that of the gravest
  point. Without any point it is low.
- Of a plan: paths that cover the whole repository, files that decide what is checked (CI, the set-up of tests), lock
  files, many tasks, a budget that is nearly spent before it begins, commands that reach out or take away.
- Of a change: its size, the same files, tests that hold less than before, what validation named, and that nobody has
  reviewed it.
- Plain tests are what most tasks are to write, and no risk: validation looks at what becomes of those that exist.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from quarterdeck.delivery.validation.findings import Remark, Rule
from quarterdeck.kernel.entities import Plan, to_usd

Level = Literal["low", "medium", "high"]

MANY_TASKS: Final = 20
MANY_FILES: Final = 20
MANY_LINES: Final = 400
VERY_MANY_LINES: Final = 2_000
SHARE: Final = 0.8
"""Of the budget that the tasks' own budgets may add up to."""
NAMED: Final = 5
"""How many of a kind are named."""

_CI: Final = re.compile(
    r"(^|/)(\.github/|\.gitlab-ci|\.circleci/|\.ci/|\.buildkite/|\.woodpecker|jenkinsfile|azure-pipelines|"
    r"bitbucket-pipelines|\.travis\.yml|\.pre-commit-config)",
    re.IGNORECASE,
)
_TEST_SETUP: Final = re.compile(
    r"(^|/)(conftest\.py|pytest\.ini|tox\.ini|noxfile\.py|\.coveragerc|(jest|vitest|karma|playwright)\.config\.\w+)$",
    re.IGNORECASE,
)
_LOCKS: Final = re.compile(
    r"(^|/)([\w.-]*\.lock|[\w-]*requirements[\w.-]*\.txt|package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml|go\.sum)$",
    re.IGNORECASE,
)
_REACHES: Final = re.compile(
    r"\b(curl|wget|ssh|scp|sudo|docker|podman|npx|uvx|chmod|git\s+push|rm\s+-\w*[rf]|dd\s+if=|"
    r"(pip|uv pip|npm|pnpm|yarn|cargo|gem)\s+(install|add))"
)
_ORDER: Final[tuple[Level, ...]] = get_args(Level)


@dataclass(frozen=True, slots=True)
class Risk:
    """How grave, and what makes it so."""

    level: Level = "low"
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Size:
    """How large a change is."""

    files: int
    added: int
    removed: int


_Point = tuple[Level, str]


def plan_risk(plan: Plan, budget_nusd: int) -> Risk:
    """Of carrying out that plan with that budget."""
    return _sum(_of_plan(plan, budget_nusd))


def change_risk(paths: Sequence[str], size: Size, remarks: Sequence[Remark], *, reviewed: bool) -> Risk:
    """Of landing a change to these files. `reviewed`: an agent has looked at it."""
    return _sum(_of_change(paths, size, remarks, reviewed))


def wide(pattern: str) -> bool:
    """Whether the glob covers files anywhere in the repository."""
    first = pattern.lstrip("/").partition("/")[0]
    return "*" in first or "?" in first


def _sum(points: Iterable[_Point]) -> Risk:
    found = list(points)
    level: Level = max((point[0] for point in found), key=_ORDER.index, default="low")
    ordered = sorted(found, key=lambda point: -_ORDER.index(point[0]))
    return Risk(level, tuple(dict.fromkeys(text[:500] for _, text in ordered))[:50])


def _of_plan(plan: Plan, budget_nusd: int) -> Iterator[_Point]:
    everywhere = [task.id for task in plan.tasks if any(wide(path) for path in task.paths)]
    if everywhere:
        yield "high", f"may change files anywhere in the repository: {_some(everywhere)}"
    yield from _of_files([path for task in plan.tasks for path in task.paths])
    if len(plan.tasks) > MANY_TASKS:
        yield "medium", f"{len(plan.tasks)} tasks"
    asked = round(sum(task.budget_usd or 0.0 for task in plan.tasks) * 1e9)
    if asked > SHARE * budget_nusd:
        yield "medium", f"its tasks may spend ${to_usd(asked):.2f} of ${to_usd(budget_nusd):.2f}"
    commands = [command for task in plan.tasks for command in task.verify if _REACHES.search(command)]
    if commands:
        yield "medium", f"commands that reach out, install or take away: {_some(commands)}"


def _of_files(paths: Sequence[str]) -> Iterator[_Point]:
    for level, pattern, what in (
        ("high", _CI, "what runs the checks of others (CI)"),
        ("medium", _TEST_SETUP, "the set-up of tests"),
        ("medium", _LOCKS, "what is installed (lock files)"),
    ):
        found = [path for path in paths if pattern.search(path)]
        if found:
            yield ("high" if level == "high" else "medium"), f"changes {what}: {_some(found)}"


def _of_change(paths: Sequence[str], size: Size, remarks: Sequence[Remark], reviewed: bool) -> Iterator[_Point]:
    yield from _of_files(paths)
    weakened = [str(remark) for remark in remarks if remark.rule is Rule.WEAKENED_TESTS]
    if weakened:
        yield "high", f"tests hold less than before: {_some(weakened)}"
    others = [str(remark) for remark in remarks if remark.rule is not Rule.WEAKENED_TESTS]
    if others:
        yield "medium", f"validation names: {_some(others)}"
    lines = size.added + size.removed
    if lines > MANY_LINES:
        yield ("high" if lines > VERY_MANY_LINES else "medium"), f"{lines} lines (+{size.added} -{size.removed})"
    if size.files > MANY_FILES:
        yield "medium", f"{size.files} files"
    if not reviewed:
        yield "medium", "nobody has reviewed it"


def _some(items: Sequence[str]) -> str:
    named = ", ".join(dict.fromkeys(items[:NAMED]))
    return f"{named} and {len(items) - NAMED} more" if len(items) > NAMED else named
