"""What follows where nobody was there to answer a call."""

import pytest

from quarterdeck.agents import outages
from quarterdeck.kernel.events import ModelErred
from quarterdeck.kernel.failures import FailureClass, ModelFailed

ALL = ("a:x", "b:y", "c:z")


def erred(name: str, *, away: bool = True, failure: FailureClass = FailureClass.TRANSIENT) -> ModelErred:
    model = next(each for each in ALL if each.startswith(name))
    return ModelErred(step=1, model=model, failure=failure, reason="r", unreached=away)


@pytest.mark.parametrize(
    ("last", "errors", "asks"),
    [
        ("", [], "a:x"),
        ("gone:w", [], "a:x"),
        ("b:y", [], "b:y"),  # it had to be left in an earlier step
        ("b:y", [erred("a"), erred("b")], "a:x"),
        ("c:z", [erred("a"), erred("b"), erred("c")], "a:x"),
        ("c:z", [erred("b"), erred("c")], "b:y"),
        ("c:z", [erred("a"), erred("b", away=False), erred("c")], "c:z"),
        ("b:y", [erred("a"), erred("b", away=False, failure=FailureClass.AUTH)], "b:y"),
        ("b:y", [erred("a", away=False), erred("b")], "b:y"),
    ],
)
def test_who_was_only_left_because_nobody_was_there_is_asked_again(
    last: str, errors: list[ModelErred], asks: str
) -> None:
    assert outages.first_to_ask(ALL, last, errors) == asks


def test_whoever_is_there_again_has_all_its_tries() -> None:
    errors = [erred("a"), erred("a"), erred("a", failure=FailureClass.INFRASTRUCTURE), erred("a", away=False)]
    there = ModelFailed("a failed", FailureClass.TRANSIENT)
    away = ModelFailed("a cannot be reached", FailureClass.TRANSIENT, unreached=True)
    assert outages.tried(errors, there) == [("a:x", FailureClass.TRANSIENT)]
    assert outages.tried(errors[:2], away) == [("a:x", FailureClass.TRANSIENT)] * 2
    assert outages.as_trouble(there).kind is FailureClass.TRANSIENT
    assert outages.as_trouble(away).kind is FailureClass.INFRASTRUCTURE
