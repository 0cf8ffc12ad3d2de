"""The order of a run's nodes, and what each outcome leads to."""

import pytest

from quarterdeck.delivery.blueprint import BLUEPRINTS, DEFAULT, Turn
from quarterdeck.kernel.config import DeckConfig, ReviewSection, RunConfig
from quarterdeck.kernel.events import Node, Outcome

PLAIN = RunConfig(deck=DeckConfig())
REVIEWED = RunConfig(deck=DeckConfig(review=ReviewSection(agent="reviewer")))


def path(config: RunConfig) -> list[Node]:
    found, node = [Node.DISPATCH], DEFAULT.after(Node.DISPATCH, config)
    while node is not None:
        found.append(node)
        node = DEFAULT.after(node, config)
    return found[1:]


def test_the_nodes_of_a_task_in_order() -> None:
    assert path(PLAIN) == [Node.IMPLEMENT, Node.CHECK, Node.GATE]
    assert path(REVIEWED) == [Node.IMPLEMENT, Node.CHECK, Node.REVIEW, Node.GATE]


def test_every_node_is_in_the_default_blueprint_once() -> None:
    assert sorted(step.node for step in DEFAULT.steps) == sorted(Node)
    assert BLUEPRINTS[RunConfig(deck=DeckConfig()).blueprint] is DEFAULT


@pytest.mark.parametrize("node", list(Node))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_one_turn_and_only_success_goes_on(node: Node, outcome: Outcome) -> None:
    turn = DEFAULT.turn(node, outcome)
    if DEFAULT.step(node).scope == "task":
        assert (turn is Turn.NEXT) is (outcome is Outcome.OK)


def test_whose_fault_it_is() -> None:
    assert DEFAULT.turn(Node.GATE, Outcome.CONFLICT) is Turn.RETURN
    assert DEFAULT.turn(Node.GATE, Outcome.HELD) is Turn.FAIL
    assert DEFAULT.turn(Node.REVIEW, Outcome.FAILED) is Turn.FAIL
    assert DEFAULT.turn(Node.REVIEW, Outcome.CHANGE) is Turn.RETRY
    assert DEFAULT.turn(Node.CHECK, Outcome.FAILED) is Turn.RETRY


def test_what_is_no_node_of_the_blueprint_is_an_error() -> None:
    with pytest.raises(KeyError):
        BLUEPRINTS["default"].step("lunch")  # type: ignore[arg-type]  # the mistake under test
