"""What validation has to say about a change beyond "its checks passed". Pure.

Rules
- A finding has a rule, and the rule has a level: off, warn (named in the report and to the reviewer) or block (the
  change is sent back with it).
- Unrelated formatting sends a change back. It is only named where the task asks for formatting, or where nothing but
  empty lines and space at the ends of lines differ.
- Tests that vanish, are skipped or hold less than before send a change back, because nobody can tell from a green check
  what it no longer checks. It is only named where the task is about tests alone or asks for it by the test's name, or
  where the change removes what the test tested. A test that was edited in any other way, or is skipped elsewhere but
  not here, is only named: that may be the point of the task.
- What stands around tests in their files, and became something else, is named. Whether tests pass because of it is
  found out by running them.
- Options in pytest's configuration that leave out tests are as if these were skipped. What may be housekeeping is only
  named.
- What replaces a part of the test framework sends the change back, and a hook into it is named: both are for all tests.
- Who blinds the survey gains nothing: where it failed on a change of code or tests, or could not look at a source of
  tests or at the configuration of tests, it vouches for nothing, and the change is sent back. It is only named where
  nothing that the survey finds would send a change back, and where the change removes the file. What tests only read,
  a picture or a recorded answer, is nothing that it would look into.
- A program that the gate runs may be what the change is about: that it changed is named.
- What the survey says was computed beside sources of an agent: it is bounded here, and never more than words.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from typing import Final

from pydantic import Field, TypeAdapter

from quarterdeck.delivery.validation.checks import bounded
from quarterdeck.delivery.validation.survey.options import judges
from quarterdeck.delivery.validation.survey.silence import Silence
from quarterdeck.delivery.validation.survey.sources import is_test
from quarterdeck.kernel.config import Level, ValidationSection
from quarterdeck.kernel.entities import Task, Value
from quarterdeck.workplace.history import FileChange

SHOWN: Final = 20
LINE: Final = 300
_PROBES: Final = ("x.py", "x.js", "x.ts", "x.go", "x.rs", "x.md")


class Rule(StrEnum):
    """What a finding is about; each has its key in `[validation]`, save for `flaky_check`, which only warns."""

    NEW_TESTS = "new_tests"
    WEAKENED_TESTS = "weakened_tests"
    UNRELATED_HUNKS = "unrelated_hunks"
    INVENTED_SYMBOLS = "invented_symbols"
    NEEDLESS_ABSTRACTION = "needless_abstraction"
    FLAKY_CHECK = "flaky_check"
    NOT_LOOKED_AT = "not_looked_at"


class Remark(Value):
    """One thing that validation names."""

    rule: Rule
    problem: str
    path: str = ""
    line: int | None = None
    blocking: bool = False

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}: " if self.line else f"{self.path}: " if self.path else ""
        return f"{place}{self.problem}"


_SURVEYED: Final = (
    *(Rule.NEW_TESTS, Rule.WEAKENED_TESTS, Rule.UNRELATED_HUNKS),
    *(Rule.INVENTED_SYMBOLS, Rule.NEEDLESS_ABSTRACTION),
)
"""What the survey finds."""

REMARKS: Final = TypeAdapter(tuple[Remark, ...])


class Spot(Value):
    """One place that the survey names."""

    path: str
    line: int
    what: str = ""
    slight: bool = False
    """Not worth another attempt."""


class TestName(Value):
    """One test that the change brings."""

    __test__ = False

    path: str
    name: str
    """`Class::method` or the function's name."""
    new: bool
    silence: Silence = Silence.NONE
    """How far it says that it is not to be run, or not to count."""

    @property
    def counts(self) -> bool:
        """Whether it can prove anything here: what is skipped or expected to fail cannot."""
        return self.silence < Silence.HERE


class Weakening(Value):
    """One test that was there."""

    path: str
    name: str
    how: str
    gone: bool


class Survey(Value):
    """What `survey` says about a change."""

    formatting: tuple[Spot, ...] = Field(default=(), max_length=200)
    tests: tuple[TestName, ...] = Field(default=(), max_length=200)
    around: tuple[TestName, ...] = Field(default=(), max_length=200)
    """Tests that were there, and around which something changed."""
    weakened: tuple[Weakening, ...] = Field(default=(), max_length=200)
    symbols: tuple[Spot, ...] = Field(default=(), max_length=200)
    abstractions: tuple[Spot, ...] = Field(default=(), max_length=200)
    unseen: tuple[Spot, ...] = Field(default=(), max_length=200)
    """What could not be looked at."""
    failed: str = Field(default="", max_length=200)
    """How the survey itself ended; "" = well."""
    blind: bool = False
    """It failed, and the change touches what it would have looked at for more than its layout."""


def only_tests(paths: Sequence[str]) -> bool:
    """Whether a task that may change `paths` can change nothing but tests."""
    for pattern in paths:
        plain = pattern.lstrip("/").rstrip("*")
        names = [plain] if not plain.endswith("/") else [plain + probe for probe in _PROBES]
        if not all(is_test(name) for name in names):
            return False
    return True


def pins(task: Task, rest: Sequence[str]) -> bool:
    """Whether the task asks for tests of what is there already, and the change keeps to that.

    `rest`: the files that the change touches beside tests.
    """
    return _PINS.match(task.title) is not None and all(path.endswith(_PROSE) for path in rest)


def remarks(survey: Survey, task: Task, levels: ValidationSection) -> tuple[Remark, ...]:
    """What the survey says, as findings of their level."""
    return levelled(tuple(_remarks(survey, task)), levels)


def tried_out(task: Task, changes: Sequence[FileChange], programs: Collection[str]) -> tuple[Remark, ...]:
    """What is worth a look of the programs that the gate runs, and which the task does not name. None of it blocks."""
    problem = "the gate runs this: look at whether it still checks what it checked"
    touched = {change.old_path if change.status == "R" else change.path for change in changes}
    found = sorted(touched.intersection(programs).difference(pattern.lstrip("/") for pattern in task.paths))
    return tuple(Remark(rule=Rule.WEAKENED_TESTS, path=path, problem=problem) for path in found)


def levelled(found: Sequence[Remark], levels: ValidationSection) -> tuple[Remark, ...]:
    """Those findings whose rule is not off; none blocks whose rule only warns."""
    return tuple(
        remark.model_copy(
            update={
                "problem": bounded(remark.problem, LINE),
                "blocking": remark.blocking and level(remark.rule, levels) == "block",
            }
        )
        for remark in found
        if level(remark.rule, levels) != "off"
    )


def level(rule: Rule, levels: ValidationSection) -> Level:
    """What is done about findings of that rule."""
    chosen: Level = "warn" if rule is Rule.FLAKY_CHECK else getattr(levels, rule.value)
    vouched = any(getattr(levels, other.value) == "block" for other in _SURVEYED)
    return "warn" if rule is Rule.NOT_LOOKED_AT and chosen == "block" and not vouched else chosen


def _remarks(survey: Survey, task: Task) -> Iterator[Remark]:
    """With everything blocking that may be so at its rule's level. What is known stands before what is not."""
    asked = bool(_FORMATS.search(f"{task.title}\n{task.instructions}"))
    for spot in survey.formatting:
        what = "this only formats, and has nothing to do with the rest of the change: take it back"
        grave = not spot.slight and not asked
        yield Remark(rule=Rule.UNRELATED_HUNKS, path=spot.path, line=spot.line, problem=what, blocking=grave)
    for test in survey.weakened:
        said = _WEAKENED.get(test.how, "this test was changed")
        said = said.format(test.name) if test.name else said.replace("the existing test `{}`", "this file of tests")
        meant = test.gone or only_tests(task.paths) or _asks_to_remove(task, test.name)
        grave = test.how == "patches" or (test.how in _LESS and not meant)
        yield Remark(rule=Rule.WEAKENED_TESTS, path=test.path, problem=said, blocking=grave)
    for rule, spots in (
        (Rule.INVENTED_SYMBOLS, survey.symbols),
        (Rule.NEEDLESS_ABSTRACTION, survey.abstractions),
    ):
        for spot in spots:
            yield Remark(rule=rule, path=spot.path, line=spot.line, problem=spot.what, blocking=True)
    if survey.failed:
        problem = (
            f"nobody looked at what the change does to tests and names: the survey failed ({survey.failed})."
            " Change less at once, and no file that takes minutes to read"
        )
        yield Remark(rule=Rule.NOT_LOOKED_AT, problem=problem, blocking=survey.blind)
    for spot in survey.unseen:
        yield Remark(
            rule=Rule.NOT_LOOKED_AT, path=spot.path, problem=spot.what, blocking=judges(spot.path) and not spot.slight
        )


def _asks_to_remove(task: Task, test: str) -> bool:
    """Whether the task's own words ask for the removal of that test (`Class::method`)."""
    names = "|".join(re.escape(name) for name in test.split("::") if name)
    words = f"{task.title}\n{task.instructions}"
    return bool(names) and re.search(rf"(?i:{_REMOVES})[^.\n]{{0,120}}\b({names})\b", words) is not None


_PROSE: Final = (".md", ".rst", ".txt")
_PINS: Final = re.compile(
    r"(?!.*\b(?:and|fix)\b)(?:(?!.*\b(?:with|by) (?:\w+ ){0,2}(?:tests?|coverage)\b)"
    r"(?:(?:add|writ|extend|improv|increas|creat|complet|pin)(?:e|s|es|ed|ing)?"
    r"|more|new|additional)\b.*\b(?:(?:unit)?tests?|testcases?|coverage)|(?:unit|regression|integration)[ -]?tests?"
    r"|tests? (?:for|of|that)|covers?|test)\b",
    re.IGNORECASE,
)
"""A title that asks for tests and nothing else."""
_FORMATS: Final = re.compile(
    r"\b(?:reformat|re-?indent|prettier\b|gofmt\b|rustfmt\b|lint(?:er|ing)|white ?space|(?:black|ruff)\b"
    r"|(?:code )?formatting\b|code style|format (?:the |all )?(?:code|files|sources))",
    re.IGNORECASE,
)
"""A task that asks for formatting. "Format" alone can be anything."""
_REMOVES: Final = r"\b(?:remove|delete|drop|skip|disable|retire|replace|rewrite)"
_LESS: Final = frozenset(("removed", "skipped", "weaker", "unreadable", "deselects"))
_WEAKENED: Final = {
    "removed": "the existing test `{}` was removed: keep it, and let it say what holds now",
    "skipped": "the existing test `{}` is skipped now: let it run",
    "skipped elsewhere": "the existing test `{}` is skipped under a condition now",
    "weaker": "the existing test `{}` holds fewer assertions than before: keep them, and let them say what holds now",
    "unreadable": "this file holds tests that could be read before, and now it cannot be: keep it plain",
    "patches": "`{}` is replaced for all tests: leave the test framework as it is",
    "hooks": "`{}` decides for all tests which of them run, or how they end: look at what it does",
    "deselects": "`{}` leaves tests out of every run of pytest: take it back",
    "narrows": "`{}` may leave tests out of every run of pytest: look at what it does",
    "around": "what stands around the tests here was changed: look at what it does",
    "edited": "the existing test `{}` was edited: what it expects may have been changed to fit",
}


def blocking(found: Sequence[Remark]) -> tuple[Remark, ...]:
    """Those that send the change back."""
    return tuple(remark for remark in found if remark.blocking)


def listed(found: Sequence[Remark]) -> str:
    """The findings, one a line, the blocking ones first; bounded."""
    ordered = sorted(found, key=lambda remark: not remark.blocking)
    lines = [f"{'!' if remark.blocking else '-'} [{remark.rule}] {remark}" for remark in ordered[:SHOWN]]
    more = [f"- and {len(ordered) - SHOWN} more"] if len(ordered) > SHOWN else []
    return "\n".join([*lines, *more])
