"""Who may delegate to whom: along no line of agents does one stand twice, however the definitions are drawn."""

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.agents.delegation import ANSWER_LIMIT, answer_of, delegates, refusal
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.journal.port import Claim
from quarterdeck.kernel.config import DeckConfig, LimitsSection, RunConfig
from quarterdeck.kernel.entities import Agent, Answer, Harness
from quarterdeck.kernel.events import Outcome

TIERS = {"hands": ("anthropic:x",)}
NAMES = ("a", "b", "c", "d")
ROSTERS = st.fixed_dictionaries({name: st.lists(st.sampled_from(NAMES), unique=True) for name in NAMES})


def assignment(agents: dict[str, Agent], name: str, *above: str, **limits: int) -> Assignment:
    return Assignment(
        run="r",
        attempt="r.t.1",
        number=1,
        incarnation=1,
        agent=agents[name],
        claim=Claim("attempt/r.t.1", 1),
        sandbox=cast(Any, None),
        config=RunConfig(deck=DeckConfig(limits=LimitsSection(**limits), tiers=TIERS), agents=agents),
        goal="g",
        ancestors=above,
    )


def lines(agents: dict[str, Agent], line: tuple[str, ...], children: int = 0) -> list[tuple[str, ...]]:
    """Every line of agents that delegating can lead to."""
    work = assignment(agents, line[-1], *line[:-1])
    found = [line]
    for name in NAMES:
        allowed = not refusal(work, name, children)
        assert allowed == (name in delegates(work))
        if allowed:
            found += lines(agents, (*line, name))
    return found


@given(ROSTERS)
def test_no_agent_stands_twice_in_a_line_and_no_line_is_deeper_than_allowed(drawn: dict[str, list[str]]) -> None:
    agents = {name: Agent(name=name, delegates_to=tuple(to)) for name, to in drawn.items()}
    for name in NAMES:
        for line in lines(agents, (name,)):
            assert len(set(line)) == len(line) <= 3


def test_each_refusal_says_why() -> None:
    agents = {
        "lead": Agent(name="lead", delegates_to=("lead", "scout", "shell")),
        "scout": Agent(name="scout", delegates_to=("lead", "deep")),
        "deep": Agent(name="deep", delegates_to=("other",)),
        "other": Agent(name="other"),
        "shell": Agent(name="shell", harness=Harness.COMMAND, command=("true",)),
    }
    top = assignment(agents, "lead")
    assert refusal(top, "scout", 7) == ""
    assert refusal(top, "lead", 0) == "an agent does not delegate to itself"
    assert refusal(top, "scout", 8) == "8 sub-agents are the most for one attempt (limits.fan_out)"
    assert refusal(top, "shell", 0) == refusal(top, "nobody", 0) == "you may delegate to scout"
    assert refusal(assignment(agents, "scout", "lead"), "lead", 0) == "that would be a cycle: lead -> scout -> lead"
    third = assignment(agents, "deep", "lead", "scout")
    assert refusal(third, "other", 0) == "sub-agents stand at most 2 deep (limits.delegation_depth)"
    assert delegates(third) == {}
    assert delegates(assignment(agents, "lead", delegation_depth=0)) == {}
    assert delegates(assignment(agents, "lead", fan_out=0)) == {}
    poor = {**agents, "scout": agents["scout"].model_copy(update={"tier": "brain"})}
    assert delegates(assignment(poor, "lead")) == {}


def test_an_answer_comes_back_bounded_and_says_so() -> None:
    whole = answer_of("scout", Finished(Outcome.OK, handoff=Answer(summary="short")))
    assert (whole.text, whole.flags) == ("short", ())
    cut = answer_of("scout", Finished(Outcome.OK, handoff=Answer(summary="ü" * 8_000)))
    assert cut.flags == ("truncated",)
    assert len(cut.text.encode()) <= ANSWER_LIMIT + 200
