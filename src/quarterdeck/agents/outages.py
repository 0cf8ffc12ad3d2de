"""What follows where nobody was there to answer a call: no network, or no server at its address. Pure.

Rules
- It is a trouble of the machine, once every model was asked: another attempt would find the same.
- Then all of them are asked again, from the first that was only left for it. Where one of them answered, if only to
  refuse, it stays with that one.
- Whoever is there again has refused nothing before: it has all its tries.
"""

from collections.abc import Sequence

from quarterdeck.kernel.events import ModelErred
from quarterdeck.kernel.failures import FailureClass, ModelFailed


def first_to_ask(candidates: Sequence[str], last: str, errors: Sequence[ModelErred]) -> str:
    """The model to ask next. `last`: the one that was asked last; `errors`: of the present step, in order."""
    at = candidates.index(last) if last in candidates else 0
    away = {error.model for error in errors if errors[-1].unreached and error.unreached}
    while at > 0 and candidates[at - 1] in away:
        at -= 1
    return candidates[at]


def tried(errors: Sequence[ModelErred], failure: ModelFailed) -> list[tuple[str, FailureClass]]:
    """(model, class) of those failures of a step that count as tries beside this one, which is the last of them."""
    return [
        (error.model, error.failure)
        for error in errors
        if error.failure is not FailureClass.INFRASTRUCTURE and (failure.unreached or not error.unreached)
    ]


def as_trouble(failure: ModelFailed) -> ModelFailed:
    """The failure that nothing more can be tried against now; that nobody was there is a trouble of the machine."""
    if failure.unreached:
        failure.kind = FailureClass.INFRASTRUCTURE
    return failure
