"""The native loop, end to end on the scripted model: it works, it notices, it ends."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from agent_kit import PRICE, RUN, TASK, Kit, Moving, deck, kit, scenario

from quarterdeck.agents.transcript import decode
from quarterdeck.gateway.settling import SETTLING
from quarterdeck.govern.chain import day_of
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.govern.port import Action, Decision, Link
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, AgentLimits, Feedback, Note, Plan, Review, Submission
from quarterdeck.kernel.events import (
    ContextCompacted,
    Delegated,
    LimitReached,
    ModelAnswered,
    ModelAsked,
    ModelErred,
    NoteRecorded,
    Outcome,
    QuestionAsked,
    TodoChanged,
    ToolDone,
    ToolIntended,
    TranscriptExtended,
)
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.scenario import Match, Rule, Turn, act
from quarterdeck.store.port import Tx

NOON = 1_795_262_400.0  # 2026-11-21 12:00 UTC
AGENT = Agent(name="implementer", prompt="You implement.")
SUBMIT = Turn(actions=(act("submit", summary="hello is written"),))
WRITE = Turn(text="I write.", actions=(act("write", path="hello.txt", content="hello\n"),))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Kit]:
    async with kit(tmp_path) as made:
        yield made


async def test_a_task_is_carried_to_a_submission(bench: Kit) -> None:
    turns = (
        Turn(actions=(act("todo", items=[{"text": "write", "status": "doing"}]), act("note", text="hello is a file"))),
        WRITE,
        Turn(actions=(act("run", command="cat hello.txt"), act("read", path="hello.txt"))),
        SUBMIT,
    )
    async with bench.native(scenario(*turns)) as wire:
        finished = await wire.work(AGENT)
    assert finished.outcome is Outcome.OK
    assert finished.handoff == Submission(summary="hello is written")
    assert await bench.file("hello.txt") == "hello\n"
    events = await bench.events()
    calls = [event for event in events if isinstance(event, ToolIntended)]
    assert [call.tool for call in calls] == ["todo", "note", "write", "run", "read", "submit"]
    assert len({call.call for call in calls}) == 6
    assert all(call.decision == "allow" for call in calls)
    assert any(isinstance(event, NoteRecorded) and event.task == "greet" for event in events)
    assert any(isinstance(event, TodoChanged) for event in events)
    settled, reserved = await bench.money()
    assert reserved == 0
    assert settled == sum(event.cost_nusd for event in events if isinstance(event, ModelAnswered)) > 0


async def test_each_call_reads_the_cache_of_the_one_before(bench: Kit) -> None:
    long = AGENT.model_copy(update={"prompt": "You implement. " * 600})
    async with bench.native(scenario(WRITE, Turn(actions=(act("run", command="seq 1 500"),)), WRITE, SUBMIT)) as wire:
        await wire.work(long)
        usages = [asked.usage for asked in wire.server.requests]
    assert usages[0].cache_read == 0
    for before, now in itertools.pairwise(usages):
        assert now.cache_read >= before.cache_read + before.cache_write - 8
        assert now.input < 50


async def test_the_first_message_names_task_role_and_attempt(bench: Kit) -> None:
    notes = (Note(task="other", text="The file ends with a newline."),)
    async with bench.native(scenario(SUBMIT)) as wire:
        await wire.work(AGENT, notes=notes)
    first = next(event for event in await bench.events() if isinstance(event, TranscriptExtended))
    text = (await bench.journal.get(first.message_blob)).decode()
    assert "Task: greet\\nRole: implementer\\nAttempt: 1\\n" in text
    assert "ends with a newline" in text
    assert "test -f hello.txt" in text


async def test_a_reviewer_and_a_planner_hand_in_their_kind(bench: Kit) -> None:
    review = act("submit", verdict="change", summary="no", findings=[{"problem": "no test", "line": 3}])
    reviewer = Agent(name="reviewer", expects="review", tools=("read", "submit"))
    async with bench.native(scenario(Turn(actions=(review,)))) as wire:
        finished = await wire.work(reviewer, diff="+x", evidence="passed")
    assert isinstance(finished.handoff, Review)
    assert finished.handoff.findings[0].line == 3
    plan = act("submit", tasks=[{"id": "a", "title": "A", "paths": ["a.py"], "verify": ["true"]}])
    planner = Agent(name="planner", expects="plan")
    async with bench.native(scenario(Turn(actions=(plan,)))) as wire:
        finished = await wire.work(planner, number=2, task=None)
    assert isinstance(finished.handoff, Plan)
    assert finished.handoff.goal == "Greet the world"


async def test_a_malformed_submission_gets_the_errors_and_an_example_and_the_third_ends_it(bench: Kit) -> None:
    bad = Turn(actions=(act("tool", name="submit", args={"summary": 5}),))
    async with bench.native(scenario(bad, bad, SUBMIT)) as wire:
        finished = await wire.work(AGENT)
    assert finished.outcome is Outcome.OK
    done = [event for event in await bench.events() if isinstance(event, ToolDone)]
    assert [event.ok for event in done] == [False, False, True]
    text = (await bench.journal.get(done[0].result_blob)).decode()
    assert "summary: must be string, not integer" in text
    assert "An example" in text
    empty = Turn(actions=(act("tool", name="submit", args={"summary": ""}),))
    async with bench.native(scenario(empty, empty, empty, SUBMIT)) as wire:
        finished = await wire.work(AGENT, number=2)
        assert len(wire.server.requests) == 3
    assert finished.outcome is Outcome.FAILED
    assert finished.failure is FailureClass.HANDOFF


async def test_a_handoff_can_be_inspected_beyond_its_schema(bench: Kit) -> None:
    def no_shouting(_: Any, handoff: Any) -> tuple[str, ...]:
        return ("summary: do not shout",) if handoff.summary.isupper() else ()

    loud = Turn(actions=(act("submit", summary="DONE"),))
    async with bench.native(scenario(loud, SUBMIT), inspect=no_shouting) as wire:
        finished = await wire.work(AGENT)
    assert finished.outcome is Outcome.OK
    refused = next(event for event in await bench.events() if isinstance(event, ToolDone))
    assert "do not shout" in (await bench.journal.get(refused.result_blob)).decode()


async def test_ask_waits_for_a_person_whose_answer_goes_to_the_next_attempt(bench: Kit) -> None:
    ask = Turn(actions=(act("ask", question="English or French?"), act("write", path="late.txt", content="x")))
    script = scenario(ask, WRITE, SUBMIT)
    async with bench.native(script) as wire:
        finished = await wire.work(AGENT)
        assert finished.outcome is Outcome.WAITING
        assert "French" in finished.reason
        again = await wire.work(AGENT)
        assert again == finished
        assert len(wire.server.requests) == 1
    assert any(isinstance(event, QuestionAsked) for event in await bench.events())
    assert [event.tool for event in await bench.events() if isinstance(event, ToolDone)] == ["ask"]
    told = (
        Feedback(source="human", reason="Engl", detail="ish.\nAsked in r-test.greet.1: English or French?"),
        Feedback(source="verify", reason="hello.txt is missing"),
    )
    async with bench.native(scenario(WRITE, SUBMIT)) as wire:
        finished = await wire.work(AGENT, 2, feedback=told)
    assert finished.outcome is Outcome.OK
    assert await bench.file("hello.txt") == "hello\n"
    first = next(item for item in await bench.events("r-test.greet.2") if isinstance(item, TranscriptExtended))
    text = decode(await bench.journal.get(first.message_blob)).text
    assert "## Feedback on an earlier attempt (verify)\nhello.txt is missing" in text
    assert text.endswith(
        "## A person answered: this is decided\nEnglish.\n\n"
        "The question was:\nAsked in r-test.greet.1: English or French?"
    )


async def _spent(bench: Kit, nusd: int, *purses: str) -> None:
    """Somebody else has spent so much from these purses."""
    chain = tuple(Link(purse, None) for purse in purses)

    def work(tx: Tx) -> None:
        bench.treasury.reserve(tx, chain, "r-test.other.1/1/1", nusd)
        bench.treasury.settle(tx, "r-test.other.1/1/1", nusd)

    await bench.store.write(work)


@pytest.mark.parametrize(
    ("spent", "outcome", "says"),
    [
        (0, Outcome.OK, ""),
        (900_000_000, Outcome.FAILED, "and 0.1000 of 1.00 USD are left for the task greet"),
        (2_000_000_000, Outcome.FAILED, "and 0.0000 of 1.00 USD are left for the task greet"),
    ],
)
async def test_a_task_budget_is_for_all_its_attempts(bench: Kit, spent: int, outcome: Outcome, says: str) -> None:
    task = TASK.model_copy(update={"budget_usd": 1.0})
    await _spent(bench, spent, f"task/{RUN}/{TASK.id}")
    async with bench.native(scenario(WRITE, SUBMIT)) as wire:
        finished = await wire.work(AGENT, task=task)
        assert len(wire.server.requests) == (2 if outcome is Outcome.OK else 0)
    assert (finished.outcome, says in finished.reason) == (outcome, True)
    assert finished.failure is (FailureClass.BUDGET if says else None), "another attempt would meet it too"


async def test_every_purse_of_the_chain_holds_what_was_spent(bench: Kit) -> None:
    task = TASK.model_copy(update={"budget_usd": 3.0})
    agent = AGENT.model_copy(update={"limits": AgentLimits(usd=2.0)})
    async with bench.native(scenario(WRITE, SUBMIT)) as wire:
        await wire.work(agent, task=task)
        await wire.work(agent, 2, task=task)
    first, second = [await bench.purse(f"attempt/{RUN}.greet.{number}") for number in (1, 2)]
    assert min(first[0], second[0]) > 0
    day = day_of(bench.clock.wall())
    for purse in (f"task/{RUN}/greet", f"run/{RUN}", f"user/ada/{day}", f"deck/{day}"):
        assert await bench.purse(purse) == (first[0] + second[0], 0), purse


async def test_a_day_that_is_used_up_ends_the_work_and_says_when_it_goes_on(bench: Kit) -> None:
    day = day_of(bench.clock.wall())
    await _spent(bench, 49_900_000_000, f"user/ada/{day}")
    async with bench.native(scenario(WRITE, SUBMIT)) as wire:
        finished = await wire.work(AGENT)
        assert not wire.server.requests
    assert finished.outcome is Outcome.EXHAUSTED
    assert f"0.1000 of 50.00 USD are left for ada on {day} (UTC) (frees at " in finished.reason
    assert f"is higher: quarterdeck resume {RUN} --retry)" in finished.reason


class Settling(Moving):
    """A clock on which somebody else's call ends while the third time is slept."""

    def __init__(self, ends: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._ends = ends

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._gone += seconds
        if len(self.slept) == 3:
            await self._ends()


class Places:
    """Processes that share a provider: how many calls hold a place, and how many got leave."""

    def __init__(self) -> None:
        self.held = self.left = 0

    async def wait(self) -> float:
        return 0.0

    async def leave(self) -> float:
        self.left += 1
        return 0.0

    @asynccontextmanager
    async def place(self, at_most: float) -> AsyncIterator[bool]:
        self.held += 1
        try:
            yield True
        finally:
            self.held -= 1

    def heard(self, seconds: float) -> None:
        raise AssertionError("nobody said so")


@pytest.mark.parametrize("comes_back", [True, False])
async def test_money_that_is_only_set_aside_is_waited_for(bench: Kit, *, comes_back: bool) -> None:
    chain = (Link(f"run/{RUN}", None, opened=True),)
    await bench.store.write(lambda tx: bench.treasury.reserve(tx, chain, "r-test.other.1/1/1", 4_990_000_000))

    places = Places()

    async def ends() -> None:
        assert places.held == 0, "whoever waits for money keeps nobody else from calling"
        if comes_back:
            await bench.store.write(lambda tx: bench.treasury.settle(tx, "r-test.other.1/1/1", 1))

    clock = Settling(ends)
    async with bench.native(scenario(WRITE, SUBMIT), clock=clock, sharing=lambda provider, place: places) as wire:
        finished = await wire.work(AGENT)
    if comes_back:
        assert (finished.outcome, len(clock.slept)) == (Outcome.OK, 3)
        assert places.left == len(wire.server.requests) == 2, "each call counts once in the provider's rate"
    else:
        assert finished.outcome is Outcome.EXHAUSTED
        assert (
            "0.0100 of 5.00 USD are left for the run r-test, beside 4.9900 USD for calls under way" in finished.reason
        )
        assert SETTLING <= sum(clock.slept) < 2 * SETTLING


class Midnight(Moving):
    """A clock whose day changes when it is told so."""

    moved = 0.0

    def wall(self) -> float:
        return NOON + self.moved


async def test_work_that_outlasts_midnight_is_paid_from_both_days(bench: Kit) -> None:
    clock = Midnight()

    class Passes(DefaultPolicy):
        def decide(self, action: Action) -> Decision:
            clock.moved += 86_400.0
            return super().decide(action)

    async with bench.native(scenario(WRITE, SUBMIT), clock=clock, policy=Passes({"implementer": None})) as wire:
        await wire.work(AGENT)
        assert len(wire.server.requests) == 2
    spent = [event.cost_nusd for event in await bench.events() if isinstance(event, ModelAnswered)]
    for owner in ("deck", "user/ada"):
        assert [await bench.purse(f"{owner}/2026-11-{day}") for day in (21, 22)] == [(one, 0) for one in spent]
    assert (await bench.money()) == (sum(spent), 0)


async def test_what_the_policy_denies_is_not_done(bench: Kit) -> None:
    turns = (WRITE, Turn(actions=(act("write", path=".quarterdeck/deck.toml", content="x"),)), SUBMIT)
    policy = DefaultPolicy({"implementer": frozenset({"write", "submit"})})
    async with bench.native(scenario(Turn(actions=(act("run", command="touch ran"),)), *turns), policy=policy) as wire:
        finished = await wire.work(AGENT)
    assert finished.outcome is Outcome.OK
    intended = [event for event in await bench.events() if isinstance(event, ToolIntended)]
    assert [event.decision for event in intended] == ["deny", "allow", "deny", "allow"]
    assert intended[0].rules == ("tool-listed",)
    listed = await bench.sandbox.exec("ls -A", timeout=10)
    assert listed.stdout.split() == [b"hello.txt"]


async def test_a_policy_that_breaks_denies(bench: Kit) -> None:
    class Broken:
        def decide(self, action: Any) -> Any:
            raise RuntimeError("no rules")

    async with bench.native(scenario(WRITE, SUBMIT, SUBMIT, SUBMIT), policy=Broken()) as wire:
        await wire.work(AGENT)
    first = next(event for event in await bench.events() if isinstance(event, ToolIntended))
    assert first.decision == "deny"
    assert first.rules == ("policy-error",)


async def test_an_unknown_tool_and_bad_arguments_are_results(bench: Kit) -> None:
    turns = (
        Turn(actions=(act("tool", name="fly", args={}), act("tool", name="read", args={"file": 3}))),
        SUBMIT,
    )
    async with bench.native(scenario(*turns)) as wire:
        finished = await wire.work(AGENT)
    assert finished.outcome is Outcome.OK
    done = [event for event in await bench.events() if isinstance(event, ToolDone)]
    assert [event.flags for event in done[:2]] == [("unknown-tool",), ("bad-arguments",)]


async def test_the_same_call_again_and_again_is_noticed_and_then_ends_it(bench: Kit) -> None:
    again = Turn(actions=(act("run", command="cat missing"),))
    rules = (Rule(match=Match(first="greet"), turns=(again,), repeat=True),)
    async with bench.native(scenario(rules=rules)) as wire:
        finished = await wire.work(AGENT)
        assert len(wire.server.requests) == 6
    assert finished.outcome is Outcome.FAILED
    assert "same call 6 times" in finished.reason
    told = [event.why for event in await bench.events() if isinstance(event, TranscriptExtended)]
    assert told == ["task", *["reminder:repeated"] * 3]


async def test_talk_without_tools_is_nudged_twice_and_then_ends_it(bench: Kit) -> None:
    async with bench.native(scenario(WRITE)) as wire:  # then it only says "Done."
        finished = await wire.work(AGENT)
        assert len(wire.server.requests) == 4
    assert finished.outcome is Outcome.FAILED
    assert finished.failure is FailureClass.HANDOFF
    told = [event.why for event in await bench.events() if isinstance(event, TranscriptExtended)]
    assert told == ["task", "reminder:nudge", "reminder:nudge"]


@pytest.mark.parametrize(("times", "outcome"), [(1, Outcome.OK), (2, Outcome.FAILED)])
async def test_an_empty_answer_is_nudged_once(bench: Kit, times: int, outcome: Outcome) -> None:
    faults = (Fault(kind=Kind.EMPTY, step=1, times=times),)
    async with bench.native(scenario(WRITE, SUBMIT, faults=faults)) as wire:
        finished = await wire.work(AGENT)
    assert finished.outcome is outcome
    nudges = [e for e in await bench.events() if isinstance(e, TranscriptExtended) and e.why == "reminder:nudge"]
    assert len(nudges) == 1


@pytest.mark.parametrize(
    ("kind", "times"),
    [(Kind.OVERLOADED, 2), (Kind.RATE_LIMIT, 1), (Kind.RESET, 2), (Kind.SERVER_ERROR, 4), (Kind.MAX_TOKENS, 2)],
)
async def test_what_passes_is_survived_and_on_record(bench: Kit, kind: Kind, times: int) -> None:
    faults = (Fault(kind=kind, step=1, times=times, retry_after=7.0 if kind is Kind.RATE_LIMIT else None),)
    async with bench.native(scenario(WRITE, SUBMIT, faults=faults)) as wire:
        finished = await wire.work(AGENT)
        slept = wire.slept
    assert finished.outcome is Outcome.OK
    erred = [event for event in await bench.events() if isinstance(event, ModelErred)]
    assert len(erred) == times
    asked = [event for event in await bench.events() if isinstance(event, ModelAsked)]
    assert [event.number for event in asked] == [1, *range(1, times + 2)]
    if kind is Kind.MAX_TOKENS:
        assert slept == []
    else:
        assert len(slept) == times
        assert min(slept) >= (7.0 if kind is Kind.RATE_LIMIT else 0.0)
    assert (await bench.money())[1] == 0


async def test_when_retries_are_used_up_the_next_model_goes_on(bench: Kit) -> None:
    faults = (Fault(kind=Kind.OVERLOADED, times=0),)
    rules = (
        Rule(match=Match(model="^scripted$"), turns=(WRITE,), faults=faults),
        Rule(match=Match(model="second"), turns=(WRITE, SUBMIT)),
    )
    config = RunConfig(deck=deck(tiers={"hands": ("anthropic:scripted", "anthropic:second")}))
    async with bench.native(scenario(rules=rules)) as wire:
        finished = await wire.work(AGENT, config=config)
    assert finished.outcome is Outcome.OK
    asked = [event.model for event in await bench.events() if isinstance(event, ModelAsked)]
    assert asked == ["anthropic:scripted"] * 5 + ["anthropic:second"] * 2


@pytest.mark.parametrize(
    ("kind", "failure", "calls"),
    [
        (Kind.UNAUTHORIZED, FailureClass.AUTH, 1),
        (Kind.SPEND_LIMIT, FailureClass.QUOTA, 1),
        (Kind.UNKNOWN_MODEL, FailureClass.CONFIGURATION, 1),
        (Kind.REFUSAL, FailureClass.REFUSED, 1),
        (Kind.OVERLOADED, FailureClass.TRANSIENT, 5),
    ],
)
async def test_what_does_not_pass_ends_the_attempt_by_its_class(
    bench: Kit, kind: Kind, failure: FailureClass, calls: int
) -> None:
    async with bench.native(scenario(WRITE, faults=(Fault(kind=kind, times=0),))) as wire:
        finished = await wire.work(AGENT)
        assert len(wire.server.requests) == calls
    assert finished.outcome is Outcome.FAILED
    assert finished.failure is failure
    assert (await bench.money())[1] == 0


async def test_an_unknown_price_is_refused_and_names_the_key(bench: Kit) -> None:
    config = RunConfig(deck=deck(prices={}))
    async with bench.native(scenario(SUBMIT)) as wire:
        finished = await wire.work(AGENT, config=config)
        assert len(wire.server.requests) == 0
    assert (finished.outcome, finished.failure) == (Outcome.FAILED, FailureClass.CONFIGURATION)
    assert "[prices]" in finished.reason


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (AgentLimits(turns=3), "turns"),
        (AgentLimits(tokens=4000), "tokens"),
        (AgentLimits(usd=0.2), "usd"),
        (AgentLimits(wall=90.0), "wall"),
    ],
)
async def test_at_a_bound_it_reports_what_is_complete(bench: Kit, limits: AgentLimits, limit: str) -> None:
    await bench.sandbox.exec("git init -q .", timeout=30)
    todo = Turn(actions=(act("todo", items=[{"text": "greet", "status": "doing"}]),))
    steps = [Turn(actions=(act("write", path=f"f{n}.txt", content="x " * 400),)) for n in range(40)]
    async with bench.native(scenario(todo, *steps), seconds_each=2.5 if limit == "wall" else 0.0) as wire:
        finished = await wire.work(AGENT.model_copy(update={"limits": limits}))
        assert (await wire.work(AGENT.model_copy(update={"limits": limits}))).reason == finished.reason
    assert finished.outcome is Outcome.FAILED
    assert finished.feedback[0].source == "limit"
    assert "[doing] greet" in finished.feedback[0].detail
    assert "f0.txt" in finished.feedback[0].detail
    reached = [event for event in await bench.events() if isinstance(event, LimitReached)]
    assert [event.limit for event in reached] == [limit]


async def test_a_model_that_hangs_is_left_at_the_wall_limit(bench: Kit) -> None:
    agent = AGENT.model_copy(update={"limits": AgentLimits(wall=1.0)})
    async with bench.native(scenario(WRITE, faults=(Fault(kind=Kind.HANG, times=0),))) as wire:
        finished = await wire.work(agent)
    assert finished.feedback[0].source == "limit"
    assert [event.limit for event in await bench.events() if isinstance(event, LimitReached)] == ["wall"]
    settled, reserved = await bench.money()
    assert settled > 0, "the provider may have billed the call that hung"
    assert reserved == 0


async def test_a_cut_stream_costs_all_that_was_set_aside_for_it(bench: Kit) -> None:
    cut = WRITE.model_copy(update={"faults": (Fault(kind=Kind.CUT, after=3, hidden=5_000),)})
    async with bench.native(scenario(cut, SUBMIT)) as wire:
        finished = await wire.work(AGENT)
    assert finished.outcome is Outcome.OK
    events = await bench.events()
    asked = next(event for event in events if isinstance(event, ModelAsked))
    (erred,) = (event for event in events if isinstance(event, ModelErred))
    answers = [event.cost_nusd for event in events if isinstance(event, ModelAnswered)]
    assert erred.estimated
    assert erred.cost_nusd == asked.reserved_nusd, "what it thought before it was cut is unknown"
    billed = wire.server.total.nusd
    assert billed > 5_000 * PRICE.output * 1_000, "the hidden part is billed"
    assert billed <= erred.cost_nusd + sum(answers)
    assert await bench.money() == (erred.cost_nusd + sum(answers), 0)


async def test_one_agent_heeds_what_the_provider_told_another(bench: Kit) -> None:
    limited = (Fault(kind=Kind.RATE_LIMIT, retry_after=40.0),)
    async with bench.native(scenario(SUBMIT, faults=limited)) as wire:
        limiter = wire.models.limiter("anthropic:scripted")
        finished = await wire.work(AGENT)
        assert finished.outcome is Outcome.OK
        assert 40.0 <= sum(wire.slept) < 80.0, "waited once, not by the limiter and by the retry"
        limiter.heard(25.0)
        wire.slept.clear()
        assert (await wire.work(AGENT, 2)).outcome is Outcome.OK
        assert 20.0 < wire.slept[0] <= 25.0, "held back before its first call, without having been told itself"


async def test_an_exhausted_budget_stops_before_the_call(tmp_path: Path) -> None:
    async with kit(tmp_path, budget_nusd=1_000_000) as bench, bench.native(scenario(WRITE, SUBMIT)) as wire:
        finished = await wire.work(AGENT)
        assert len(wire.server.requests) == 0
        assert finished.outcome is Outcome.EXHAUSTED
        assert finished.failure is FailureClass.BUDGET
        assert await bench.money() == (0, 0)


async def test_a_small_window_is_compacted_and_keeps_task_todo_and_pairs(bench: Kit) -> None:
    todo = Turn(actions=(act("todo", items=[{"text": "count", "status": "doing"}]),))
    # The script cannot count turns that were compacted away, so the workspace counts them.
    count = Turn(actions=(act("run", command="echo x >> log; wc -l < log; seq 1 700"),))
    rules = (
        Rule(match=Match(system="You summarise"), turns=(Turn(text="Counted a lot."),)),
        Rule(match=Match(last=r"^14\n"), turns=(SUBMIT,), repeat=True),
        Rule(match=Match(first="Task: greet"), turns=(todo, count), repeat=True),
    )
    agent = AGENT.model_copy(update={"limits": AgentLimits(context=12_000)})
    async with bench.native(scenario(rules=rules, window=12_000)) as wire:
        finished = await wire.work(agent)
        assert all(asked.status == 200 for asked in wire.server.requests)
    events = await bench.events()
    compactions = [event for event in events if isinstance(event, ContextCompacted)]
    assert compactions
    assert all(event.after_tokens < event.before_tokens * 0.8 for event in compactions)
    head = (await bench.journal.get(compactions[-1].messages[0])).decode()
    assert "Task: greet" in head
    assert "[doing] count" in head
    assert "Counted a lot." in head
    assert finished.outcome is Outcome.OK
    assert len(compactions) < 6


async def test_a_prompt_that_is_too_long_is_compacted_and_asked_once_more(bench: Kit) -> None:
    count = Turn(actions=(act("run", command="echo x >> log; wc -l < log; seq 1 900"),))
    too_long = (Fault(kind=Kind.CONTEXT_EXCEEDED, times=1, step=4),)
    rules = (
        Rule(match=Match(system="You summarise"), turns=(Turn(text="Counted."),)),
        Rule(match=Match(last=r"^5\n"), turns=(SUBMIT,), repeat=True),
        Rule(turns=(count,), repeat=True, faults=too_long),
    )
    async with bench.native(scenario(rules=rules)) as wire:
        finished = await wire.work(AGENT)
    assert finished.outcome is Outcome.OK
    events = await bench.events()
    kinds = [event.kind for event in events]
    assert kinds.count("context.compacted") == 1
    failure = next(index for index, event in enumerate(events) if isinstance(event, ModelErred))
    assert kinds[failure + 1 : failure + 5] == ["model.asked", "model.answered", "context.compacted", "model.asked"]


async def test_a_prompt_that_stays_too_long_ends_the_attempt(bench: Kit) -> None:
    rules = (
        Rule(match=Match(system="You summarise"), turns=(Turn(text="Counted."),)),
        Rule(turns=(WRITE,), repeat=True, faults=(Fault(kind=Kind.CONTEXT_EXCEEDED, step=1, times=0),)),
    )
    async with bench.native(scenario(rules=rules)) as wire:
        finished = await wire.work(AGENT)
    assert finished.outcome is Outcome.FAILED
    assert finished.failure is FailureClass.CONTEXT


SCOUT = Agent(name="scout", description="Looks around.", tools=("read", "search"), expects="answer")


async def test_a_sub_agent_returns_a_bounded_answer(bench: Kit) -> None:
    lead = AGENT.model_copy(update={"delegates_to": ("scout",)})
    config = RunConfig(deck=deck(), agents={"scout": SCOUT, "implementer": lead})
    delegate = Turn(actions=(act("delegate", agent="scout", task="Find hello."),))
    rules = (
        Rule(
            match=Match(first="Role: scout"),
            turns=(
                Turn(actions=(act("search", pattern="hello"),)),
                Turn(actions=(act("submit", summary="In hello.txt, line 1."),)),
            ),
        ),
        Rule(match=Match(first="Role: implementer"), turns=(WRITE, delegate, SUBMIT)),
    )
    async with bench.native(scenario(rules=rules)) as wire:
        finished = await wire.work(lead, config=config)
        tags = [asked.tag for asked in wire.server.requests]
    assert finished.outcome is Outcome.OK
    child = "r-test.greet.1.sub1"
    assert tags.count(child) == 2
    events = await bench.events()
    delegated = next(event for event in events if isinstance(event, Delegated))
    assert delegated.child == child
    done = [event for event in events if isinstance(event, ToolDone) and event.tool == "delegate"]
    assert (await bench.journal.get(done[0].result_blob)) == b"In hello.txt, line 1."
    below = await bench.events(child)
    assert [event.tool for event in below if isinstance(event, ToolDone)] == ["search", "submit"]
    spent = sum(event.cost_nusd for event in [*events, *below] if isinstance(event, ModelAnswered))
    assert await bench.money() == (spent, 0)


async def test_delegation_is_bounded(bench: Kit) -> None:
    lead = AGENT.model_copy(update={"delegates_to": ("scout",)})
    config = RunConfig(deck=deck(), agents={"scout": SCOUT, "implementer": lead})
    many = Turn(actions=tuple(act("delegate", agent="scout", task=f"Look {n}.") for n in range(9)))
    foreign = Turn(actions=(act("tool", name="delegate", args={"agent": "implementer", "task": "x"}),))
    rules = (
        Rule(match=Match(first="Role: scout"), turns=(Turn(actions=(act("submit", summary="Nothing."),)),)),
        Rule(match=Match(first="Role: implementer"), turns=(foreign, many, SUBMIT)),
    )
    async with bench.native(scenario(rules=rules)) as wire:
        await wire.work(lead, config=config)
    done = [event for event in await bench.events() if isinstance(event, ToolDone) and event.tool == "delegate"]
    assert [event.ok for event in done] == [False, *[True] * 8, False]


async def test_a_sub_agent_that_fails_says_so(bench: Kit) -> None:
    lead = AGENT.model_copy(update={"delegates_to": ("scout",)})
    lost = SCOUT.model_copy(update={"limits": AgentLimits(turns=1)})
    config = RunConfig(deck=deck(), agents={"scout": lost, "implementer": lead})
    delegate = Turn(actions=(act("delegate", agent="scout", task="Find hello."),))
    look = Turn(actions=(act("search", pattern="hello"),))
    rules = (
        Rule(match=Match(first="Role: scout"), turns=(look,), repeat=True),
        Rule(match=Match(first="Role: implementer"), turns=(delegate, SUBMIT)),
    )
    async with bench.native(scenario(rules=rules)) as wire:
        finished = await wire.work(lead, config=config)
    assert finished.outcome is Outcome.OK
    done = next(event for event in await bench.events() if isinstance(event, ToolDone))
    assert not done.ok
    assert b"`scout` did not finish: the limit of 1 turns" in await bench.journal.get(done.result_blob)


async def test_a_sub_agent_spends_its_parents_money_and_its_own_is_less(bench: Kit) -> None:
    """The parent may spend enough for one call of its sub-agent and not for two; the sub-agent may spend more."""
    lead = AGENT.model_copy(update={"delegates_to": ("scout",), "limits": AgentLimits(usd=0.15)})
    rich = SCOUT.model_copy(update={"limits": AgentLimits(usd=3.0)})
    config = RunConfig(deck=deck(), agents={"scout": rich, "implementer": lead})
    delegate = Turn(actions=(act("delegate", agent="scout", task="Find hello."),))
    look = Turn(text="I look. " * 4_000, actions=(act("search", pattern="x"),))
    rules = (
        Rule(match=Match(first="Role: scout"), turns=(look,), repeat=True),
        Rule(match=Match(first="Role: implementer"), turns=(delegate, SUBMIT)),
    )
    async with bench.native(scenario(rules=rules)) as wire:
        finished = await wire.work(lead, config=config)
        assert [asked.rule for asked in wire.server.requests] == ["#1", "#0"]
    assert finished.outcome is Outcome.FAILED
    assert f"of 0.15 USD are left for the attempt {RUN}.greet.1" in finished.reason
    (done,) = (event for event in await bench.events() if isinstance(event, ToolDone))
    assert b"are left for the attempt r-test.greet.1" in await bench.journal.get(done.result_blob)
    parent, child = [await bench.purse(f"attempt/{RUN}.greet.1{own}") for own in ("", ".sub1")]
    assert parent[0] > child[0] > 0 == parent[1] == child[1]
    assert parent == await bench.money()
