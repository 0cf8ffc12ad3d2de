"""Which models an attempt asks: its tier, a higher one after its own fault, another vendor's for a reviewer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.agents.routing import candidates, of_author, of_reviewer, raised, vendor
from quarterdeck.delivery.dispatch import decide
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import DeckConfig, LimitsSection, RoutingSection, RunConfig
from quarterdeck.kernel.entities import Agent, Harness, Plan, Task
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import BadConfiguration, FailureClass
from quarterdeck.kernel.folding import fold
from quarterdeck.testing import stories

HANDS, BRAIN = ("openai:small", "anthropic:small"), ("anthropic:big", "openai:big")
DECK = DeckConfig(tiers={"hands": HANDS, "brain": BRAIN})
AGENT = Agent(name="implementer")


def test_an_agent_asks_its_tier_or_its_one_model() -> None:
    assert candidates(AGENT, DECK) == HANDS
    assert candidates(AGENT.model_copy(update={"model": "chat:x"}), DECK) == ("chat:x",)
    with pytest.raises(BadConfiguration) as caught:
        candidates(AGENT.model_copy(update={"tier": "odd"}), DECK)
    assert "[tiers] odd" in caught.value.fix


@pytest.mark.parametrize(
    ("own", "order", "faults", "tier"),
    [
        ("hands", ("hands", "brain"), 0, "hands"),
        ("hands", ("hands", "brain"), 1, "brain"),
        ("hands", ("hands", "brain"), 5, "brain"),
        ("brain", ("hands", "brain"), 1, "brain"),
        ("own", ("hands", "brain"), 1, "own"),
        ("hands", ("hands", "middle", "brain"), 1, "brain"),
        ("hands", ("brain", "hands"), 1, "hands"),
        ("hands", (), 1, "hands"),
    ],
)
def test_a_fault_raises_the_tier(own: str, order: tuple[str, ...], faults: int, tier: str) -> None:
    deck = DECK.model_copy(update={"routing": RoutingSection(order=order)})
    assert raised(AGENT.model_copy(update={"tier": own}), deck, faults) == tier


def test_a_fixed_model_stays() -> None:
    assert raised(AGENT.model_copy(update={"model": "chat:x"}), DECK, 3) == "hands"
    program = AGENT.model_copy(update={"harness": Harness.COMMAND, "command": ("true",)})
    assert raised(program, DECK, 3) == "hands", "it asks no model of ours"
    assert raised(AGENT.model_copy(update={"harness": Harness.ACP}), DECK, 3) == "brain"


def test_a_raised_tier_says_why() -> None:
    assert of_author(AGENT, None).why == ""
    assert of_author(AGENT, "hands").agent == AGENT
    route = of_author(AGENT, "brain")
    assert candidates(route.agent, DECK) == BRAIN
    assert "tier brain instead of hands" in route.why


@pytest.mark.parametrize(
    ("author", "first", "recorded"),
    [
        ("openai:small", "anthropic:small", True),
        ("anthropic:big", "openai:small", False),
        ("google:other", "openai:small", False),
        (None, "openai:small", False),
    ],
)
def test_a_reviewer_asks_another_vendor_first(author: str | None, first: str, recorded: bool) -> None:
    route = of_reviewer(AGENT, DECK, author)
    found = candidates(route.agent, DECK, route.apart_from)
    assert found[0] == first
    assert sorted(found) == sorted(HANDS), "the others stay as failover"
    assert bool(route.why) is recorded


MODELS = st.lists(st.sampled_from([*HANDS, *BRAIN, "google:x", "chat:y"]), min_size=1, unique=True).map(tuple)


@given(MODELS, st.sampled_from(["openai:a", "anthropic:a", "google:a", "ollama:a"]))
def test_no_reviewer_is_of_the_authors_vendor_where_there_is_another(models: tuple[str, ...], author: str) -> None:
    deck = DeckConfig(tiers={"hands": models})
    route = of_reviewer(AGENT, deck, author)
    found = candidates(route.agent, deck, route.apart_from)
    others = [name for name in models if vendor(name) != vendor(author)]
    assert found[: len(others)] == tuple(others) or not others
    assert bool(route.why) == (bool(others) and vendor(models[0]) == vendor(author))


# --- over the life of a task ----------------------------------------------------------------------------------

RUN, BLOB = "r-00000000001", "b" * 64
PLAN = Plan(goal="g", tasks=(Task(id="a", title="a", paths=("a",)),))
CONFIG = RunConfig(deck=DECK.model_copy(update={"limits": LimitsSection(attempts=9)}), agents={"implementer": AGENT})


def tiers(*ends: tuple[Node, Outcome, FailureClass | None]) -> list[str | None]:
    """The tiers of the attempts at the task, each but the last ending like that."""
    created = stories.created(RUN, plan_blob=BLOB, budget_nusd=1, max_parallel=1)
    log: list[e.EventBase] = [created, e.RunPlanned(plan_blob=BLOB, tasks=1)]
    found = []
    for node, outcome, failure in (*ends, (Node.IMPLEMENT, Outcome.OK, None)):
        decision = decide(fold(log), PLAN, CONFIG)
        (given,) = [event for event in decision.events if isinstance(event, e.TaskDispatched)]
        assert [job.payload["tier"] for job in decision.jobs] == [given.tier]
        found.append(given.tier)
        ended = e.NodeFinished(node=node, outcome=outcome, failure=failure, task="a", attempt=given.attempt)
        log += [given, ended]
    return found


TOOL, TRANSIENT = FailureClass.TOOL, FailureClass.TRANSIENT


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([(Node.CHECK, Outcome.FAILED, None)], [None, "brain"]),
        ([(Node.IMPLEMENT, Outcome.FAILED, FailureClass.HANDOFF)], [None, "brain"]),
        ([(Node.GATE, Outcome.FAILED, TOOL)] * 2, [None, "brain", "brain"]),
        ([(Node.IMPLEMENT, Outcome.FAILED, TRANSIENT)], [None, None]),
        ([(Node.IMPLEMENT, Outcome.FAILED, FailureClass.INFRASTRUCTURE)], [None, None]),
        ([(Node.IMPLEMENT, Outcome.FAILED, FailureClass.BUG)], [None, None]),
        ([(Node.REVIEW, Outcome.CHANGE, None)], [None, None]),
        ([(Node.GATE, Outcome.CONFLICT, None)], [None, None]),
        (
            [(Node.IMPLEMENT, Outcome.FAILED, TRANSIENT), (Node.CHECK, Outcome.FAILED, TOOL)],
            [None, None, "brain"],
        ),
    ],
)
def test_only_a_fault_of_the_agent_raises_the_tier_of_its_task(
    ends: list[tuple[Node, Outcome, FailureClass | None]], expected: list[str | None]
) -> None:
    assert tiers(*ends) == expected
