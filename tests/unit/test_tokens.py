"""Token estimates are rather too high, and learn from what was really counted."""

import json

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.models import tokens
from quarterdeck.models.port import Message, Request, Text

PROSE = "The quick brown fox jumps over the lazy dog and then goes home to sleep for a while. " * 20
CODE = "def add(a: int, b: int) -> int:\n    total = a + b\n    return total\n\n\n" * 20
DATA = json.dumps([{"id": n, "ok": True, "at": f"2026-01-{n:02}"} for n in range(1, 29)])


def test_estimates_lie_a_little_above_what_was_measured() -> None:
    for text, measured in ((PROSE, 5.1), (CODE, 3.7), (DATA, 2.8)):
        real = len(text) / measured
        assert real <= tokens.estimate(text) <= 1.35 * real


@given(st.text(max_size=300), st.text(max_size=300))
def test_more_text_is_never_fewer_tokens_than_its_wide_characters(one: str, two: str) -> None:
    assert tokens.estimate(one) >= sum(ord(character) > 127 for character in one)
    assert (tokens.estimate(one) == 0) is (not one)
    assert tokens.estimate(one + two) <= 2 * (tokens.estimate(one) + tokens.estimate(two))


def test_a_longer_conversation_costs_more() -> None:
    message = Message(role="user", blocks=(Text(text=PROSE),))
    short, long = (tokens.of_request(Request("s", (), (message,) * count, 10)) for count in (1, 2))
    assert long - short == tokens.of_message(message) > 0


@given(st.lists(st.tuples(st.integers(-5, 10**6), st.integers(-5, 10**6)), max_size=30))
def test_learning_stays_within_bounds(calls: list[tuple[int, int]]) -> None:
    factor = 1.0
    for estimated, real in calls:
        factor = tokens.learn(factor, estimated, real)
        assert 0.5 <= factor <= 2.0


def test_learning_moves_towards_what_was_counted() -> None:
    factor = 1.0
    for _ in range(30):
        factor = tokens.learn(factor, 100, 140)
    assert 1.39 < factor < 1.41
