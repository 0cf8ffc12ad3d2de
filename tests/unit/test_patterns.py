"""Whatever an expression reads, it takes a time in proportion to its length: one that leads through the same text in
two ways stands still for hours over a few hundred bytes of an agent's, and with it the deck.

Looked for in texts made of the expression itself; what is not found there may be there nevertheless."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from patterns_kit import ANCHORED, ANYWHERE, Used, used

LENGTH: Final = 4_000
"""Characters."""
SECONDS: Final = 0.04
"""Of CPU time for one text in all ways: what is in proportion takes a twentieth of it, and mostly much less."""

OURS: Final = {"doors/site.py": "names of the dashboard's own files"}
"""What is never read of anybody else."""


class TooLong(Exception):
    """It took more."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """TooLong after so many seconds of this process's own computing."""

    def late(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def slow(one: Used, length: int = LENGTH) -> str:
    """The text that takes it too long; empty = none is known."""
    return next((repr(text[:40]) for text in one.attacks(length) if _late(one, text) and _late(one, text)), "")


def _late(one: Used, text: Any) -> bool:
    """Asked twice: the garbage of other tests may be collected meanwhile."""
    try:
        with bounded(SECONDS):
            one.reads(text)
    except TooLong:
        return True
    return False


def test_every_expression_reads_in_time() -> None:
    everything = [one for one in used() if one.where.partition(":")[0] not in OURS]
    assert len(everything) > 200
    assert {one.where: found for one in everything if (found := slow(one))} == {}


@pytest.mark.parametrize(
    ("pattern", "ways"),
    [
        (r"(?:[^$]*|\$\w+)*x", ANCHORED),  # two ways through the same
        (r"(\w+\s*)+:", ANCHORED),
        (r"version[ \t]*(?:=|[ \t])[ \t]*'", ANCHORED),  # three runs of space beside each other
        (r"\d+x", ANYWHERE),  # begins anew at each digit
        (rb"a*a*a*b", ANCHORED),
    ],
)
def test_one_that_does_not_is_found(pattern: Any, ways: frozenset[str]) -> None:
    assert slow(Used("here", re.compile(pattern), ways), 4 * LENGTH)  # on a machine of any speed


@pytest.mark.parametrize(
    ("pattern", "ways"), [(r"\d+x", ANCHORED), (r"(?<!\d)\d+x", ANYWHERE), (r"[^'\n]*'", ANCHORED)]
)
def test_one_that_does_is_not(pattern: Any, ways: frozenset[str]) -> None:
    assert not slow(Used("here", re.compile(pattern), ways))
