"""What a fleet does about its providers, how work is cancelled wherever it waits, and tools that fail themselves."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import store_kit
from agent_kit import MODELS, Kit, Parked, Still, Wire, deck, kit, scenario
from test_faults_model import AGAIN, ALL, DONE, FAILS, HAND_IN, ONCE, OTHER, SUBMIT, WIRES, config, journal, log, money

from quarterdeck.assembly.agreed import Agreed
from quarterdeck.assembly.fleet import Fleet
from quarterdeck.assembly.pacing import Pacing
from quarterdeck.assembly.places import Places
from quarterdeck.govern.agreeing import Said
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.kernel import probes
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DeckConfig, ModelSection, RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.events import ModelErred, Outcome, ToolDone
from quarterdeck.kernel.failures import FailureClass, ModelFailed, QuarterdeckError, WorkspaceOverLimit
from quarterdeck.models.port import Deadlines, ToolSpec
from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.heard import Format
from quarterdeck.models.scripted.ledger import End
from quarterdeck.models.scripted.scenario import Match, Rule, Turn, act
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.settings import load_settings
from quarterdeck.tools.port import Effect, Replay, Surroundings, ToolResult

AGENT = Agent(name="implementer", prompt="You implement.")
SECOND = "r-test.greet.2"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Kit]:
    async with kit(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_probe_is_left() -> Iterator[None]:
    yield
    probes.install(None)


def tier(*models: str) -> RunConfig:
    return RunConfig(deck=deck(tiers={"hands": models}))


# --- one limiter for all ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ALL)
async def test_what_one_agent_is_told_holds_the_others(bench: Kit, wire: str) -> None:
    clock = Parked()
    limited = (Fault(kind=Kind.RATE_LIMIT, retry_after=30.0, step=0),)
    rules = (
        Rule(match=Match(first="Attempt: 1\n"), turns=(ONCE, SUBMIT), faults=limited),
        Rule(turns=(ONCE, SUBMIT)),
    )
    async with bench.native(scenario(rules=rules), clock=clock) as made:
        one = asyncio.create_task(made.work(AGENT, 1, config=config(wire)))
        await clock.parked(1)
        two = asyncio.create_task(made.work(AGENT, 2, config=config(wire)))
        await clock.parked(2)
        assert clock.move(29.9) == 2, "both still wait"
        clock.release()
        assert [finished.outcome for finished in await asyncio.gather(one, two)] == [Outcome.OK, Outcome.OK]
        await made.server.served(5)
        times = [asked.at for asked in made.server.requests]
    assert times[0] == 0.0
    assert min(times[1:]) >= 30.0
    assert await journal(bench) == ("asked", "erred transient, wait 30", *DONE)
    assert await journal(bench, SECOND) == DONE, "the second agent was never refused"
    assert await log(bench) == "once\nonce\n"


async def test_a_hold_that_is_too_long_is_not_waited_for_by_anybody(bench: Kit) -> None:
    clock = Still()
    limited = (Fault(kind=Kind.RATE_LIMIT, retry_after=3000.0, times=0),)
    rules = (Rule(match=Match(model="second"), turns=(ONCE, SUBMIT)), Rule(turns=(ONCE, SUBMIT), faults=limited))
    both = tier("anthropic:scripted", "openai:second")
    async with bench.native(scenario(rules=rules), clock=clock) as made:
        assert (await made.work(AGENT, 1, config=both)).outcome is Outcome.OK
        assert (await made.work(AGENT, 2, config=both)).outcome is Outcome.OK
        formats = [asked.format for asked in made.server.requests]
    assert formats == [Format.MESSAGES, *[Format.RESPONSES] * 4], "the second agent did not ask the first provider"
    assert clock.slept == []
    assert await journal(bench) == ("asked", "erred transient, wait 3000", *OTHER)
    assert await journal(bench, SECOND) == ("asked", "erred transient, wait 3000", *OTHER)
    assert await log(bench) == "once\nonce\n"


async def test_a_hold_beyond_the_attempts_time_ends_at_its_bound(bench: Kit) -> None:
    clock = Still()
    limits = AGENT.limits.model_copy(update={"wall": 100.0})
    async with bench.native(scenario(ONCE, SUBMIT), clock=clock) as made:
        made.models.limiter("anthropic:scripted").heard(500.0)
        finished = await made.work(AGENT.model_copy(update={"limits": limits}))
        assert len(made.server.requests) == 0
    assert sum(clock.slept) <= 101.0
    assert finished.feedback[0].source == "limit"
    assert await journal(bench) == ("limit.reached",)


async def test_no_call_is_made_without_a_place_among_those_under_way(bench: Kit) -> None:
    """Another process has the only one."""
    clock = SystemClock()
    said: Said = {("calls_at_once", "anthropic"): 1}
    agreed = Agreed(bench.store, lambda: "m", clock, lambda: said)
    mine, theirs = (Places(bench.store, f"o-{n}", clock, agreed.of("calls_at_once")) for n in range(2))
    limits = AGENT.limits.model_copy(update={"wall": 1.0})
    async with bench.native(
        scenario(SUBMIT), sharing=Pacing(bench.store, clock, agreed.of("calls_per_minute"), mine)
    ) as made:
        async with theirs.place("anthropic") as there:
            assert there
            finished = await made.work(AGENT.model_copy(update={"limits": limits}))
            assert finished.outcome is not Outcome.OK
            assert len(made.server.requests) == 0
        assert (await made.work(AGENT, 2)).outcome is Outcome.OK
        assert len(made.server.requests) == 1
    for places in (mine, theirs):
        await places.close()
    assert (await bench.store.read("places_taken", name="anthropic", now=0.0))[0]["n"] == 0


@pytest.mark.parametrize("wire", ALL)
async def test_after_a_complaint_about_growth_a_fleet_starts_slowly(bench: Kit, wire: str) -> None:
    clock = Still()
    async with bench.native(scenario(SUBMIT), clock=clock) as made:
        made.models.limiter(f"{WIRES[wire]}:scripted").too_fast()
        for number in range(1, 5):
            await made.work(AGENT, number, config=config(wire))
        times = [asked.at for asked in made.server.requests]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps == pytest.approx([0.75, 0.75**2, 0.75**3]), "closer after each answer"


@pytest.mark.parametrize("wire", ALL)
async def test_a_key_that_one_agent_read_again_serves_them_all(bench: Kit, wire: str) -> None:
    read: list[str] = []

    def reload_key(source: str) -> str:
        read.append(source)
        return "new"

    rotated = scenario(ONCE, SUBMIT).model_copy(update={"key": "new"})
    async with bench.native(rotated, clock=Still(), reload_key=reload_key) as made:
        for number in (1, 2):
            assert (await made.work(AGENT, number, config=config(wire))).outcome is Outcome.OK
        assert [asked.status for asked in made.server.requests] == [401, 200, 200, 200, 200]
    assert read == [WIRES[wire]]
    assert await journal(bench) == ("asked", "erred auth", *DONE)
    assert await journal(bench, SECOND) == DONE


# --- models that cannot be reached ------------------------------------------------------------------------


@contextmanager
def deaf() -> Iterator[int]:
    """A port at which connections are neither accepted nor refused."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port: int = listening.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for each in waiting:  # they fill the queue
                each.setblocking(False)
                each.connect_ex(("127.0.0.1", port))
            yield port
        finally:
            for each in waiting:
                each.close()


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_nobody_picks_up(bench: Kit, provider: str) -> None:
    other = "openai" if provider == "anthropic" else "anthropic"
    with deaf() as port:
        urls = {provider: f"http://127.0.0.1:{port}"}
        deadlines = Deadlines(connect=0.3)
        async with bench.native(scenario(ONCE, SUBMIT), clock=Still(), deadlines=deadlines, urls=urls) as made:
            finished = await made.work(AGENT, config=tier(f"{provider}:scripted", f"{other}:second"))
            assert [asked.fault for asked in made.server.requests] == [*AGAIN]
    assert finished.outcome is Outcome.OK
    assert await journal(bench) == (*FAILS * 5, *OTHER)
    assert await log(bench) == "once\n"
    await money(bench)


async def test_a_server_that_does_not_even_say_its_window(bench: Kit, free_port: int) -> None:
    urls = {"chat": f"http://127.0.0.1:{free_port}/v1"}
    prices = dict.fromkeys((*MODELS, "chat:unlisted"), deck().prices["anthropic:scripted"])
    both = RunConfig(deck=deck(tiers={"hands": ("chat:unlisted", "anthropic:second")}, prices=prices))
    clock = Still()
    async with bench.native(scenario(ONCE, SUBMIT), clock=clock, urls=urls) as made:
        finished = await made.work(AGENT, config=both)
    assert finished.outcome is Outcome.OK
    assert len(clock.slept) == 4, "asked as often as a call is made"
    assert await journal(bench) == OTHER
    alone = both.model_copy(update={"deck": both.deck.model_copy(update={"tiers": {"hands": ("chat:unlisted",)}})})
    async with bench.native(scenario(ONCE, SUBMIT), clock=clock, urls=urls) as made:
        with pytest.raises(ModelFailed) as caught:
            await made.work(AGENT, 2, config=alone)
    assert caught.value.kind is FailureClass.INFRASTRUCTURE, "it delays the work, and nobody is to blame"
    assert await journal(bench, SECOND) == ()


async def test_a_server_that_is_not_there_delays_the_work_which_goes_on_where_it_was(
    bench: Kit, free_port: int
) -> None:
    urls = {"anthropic": f"http://127.0.0.1:{free_port}"}
    async with bench.native(scenario(ONCE, SUBMIT), clock=Still(), urls=urls) as made:
        for calls in (5, 6):
            with pytest.raises(ModelFailed, match="cannot be reached") as caught:
                await made.work(AGENT)
            assert caught.value.kind is FailureClass.INFRASTRUCTURE
            assert await journal(bench) == FAILS * calls, "and looks again, once each time"
    async with bench.native(scenario(ONCE, SUBMIT)) as made:
        finished = await made.work(AGENT)
    assert finished.outcome is Outcome.OK
    assert await journal(bench) == (*FAILS * 6, *DONE)
    assert await log(bench) == "once\n"
    await money(bench)


async def test_a_server_that_is_there_again_has_all_its_tries(bench: Kit, free_port: int) -> None:
    urls = {"anthropic": f"http://127.0.0.1:{free_port}"}
    async with bench.native(scenario(ONCE, SUBMIT), clock=Still(), urls=urls) as made:
        with pytest.raises(ModelFailed, match="cannot be reached"):
            await made.work(AGENT)
    starting = (Fault(kind=Kind.OVERLOADED, times=4, step=0),)
    async with bench.native(scenario(ONCE, SUBMIT, faults=starting), clock=Still()) as made:
        finished = await made.work(AGENT)
    assert finished.outcome is Outcome.OK
    assert await journal(bench) == (*FAILS * 9, *DONE)


async def test_where_nobody_was_reached_all_models_are_asked_again(bench: Kit, free_port: int) -> None:
    nobody = f"http://127.0.0.1:{free_port}"
    both = tier("anthropic:scripted", "openai:second")
    urls = {"anthropic": nobody, "openai": f"{nobody}/v1"}
    async with bench.native(scenario(ONCE, SUBMIT), clock=Still(), urls=urls) as made:
        with pytest.raises(ModelFailed, match="cannot be reached") as caught:
            await made.work(AGENT, config=both)
    assert caught.value.kind is FailureClass.INFRASTRUCTURE
    second = ("asked second", "erred transient")
    assert await journal(bench) == (*FAILS * 5, *second * 5)
    async with bench.native(scenario(ONCE, SUBMIT), clock=Still(), urls={"openai": urls["openai"]}) as made:
        finished = await made.work(AGENT, config=both)
    assert finished.outcome is Outcome.OK
    assert await journal(bench) == (*FAILS * 5, *second * 5, *DONE)


# --- cancelling -------------------------------------------------------------------------------------------

CUT_OFF = ("asked", "erred infrastructure estimated")
WAITS: dict[str, tuple[tuple[Fault, ...], tuple[str, ...]]] = {
    "for the first byte": ((Fault(kind=Kind.HANG, step=0),), CUT_OFF),
    "for the next event": ((Fault(kind=Kind.STALL, after=2, step=0),), CUT_OFF),
    "byte by byte": ((Fault(kind=Kind.SLOW, seconds=0.2, step=0),), CUT_OFF),
    "for the next try": ((Fault(kind=Kind.OVERLOADED, step=0),), FAILS),
    "for its provider": ((), ()),
}


async def cancelled(work: asyncio.Task[Any]) -> None:
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


@pytest.mark.parametrize("wire", store_kit.first_on_both("what differs is how the model is spoken to", ALL))
@pytest.mark.parametrize("where", WAITS)
async def test_cancelled_while_it_waits(bench: Kit, where: str, wire: str) -> None:
    faults, expected = WAITS[where]
    clock = Parked()
    async with bench.native(scenario(ONCE, SUBMIT, faults=faults), clock=clock) as made:
        if where == "for its provider":
            made.models.limiter(f"{WIRES[wire]}:x").heard(60.0)
        work = asyncio.create_task(made.work(AGENT, config=config(wire)))
        await (made.server.seen(1) if expected is CUT_OFF else clock.parked(1))
        await cancelled(work)
        assert await journal(bench) == expected
        assert (await bench.money())[1] == 0, "nothing stays reserved"
        if expected is CUT_OFF:
            await made.server.served(1)
            assert made.server.requests[0].end is End.ABORTED, "the connection is closed"
        clock.release()
        finished = await made.work(AGENT, config=config(wire))
    assert finished.outcome is Outcome.OK
    assert await journal(bench) == (*expected, *DONE)
    assert await log(bench) == "once\n"
    await money(bench)


async def test_cancelled_while_it_connects(bench: Kit) -> None:
    intended = asyncio.Event()
    probes.install(lambda name: intended.set() if name == "model.intended" else None)
    with deaf() as port:
        async with bench.native(scenario(ONCE), urls={"anthropic": f"http://127.0.0.1:{port}"}) as made:
            work = asyncio.create_task(made.work(AGENT))
            await intended.wait()
            await cancelled(work)
    assert await journal(bench) == CUT_OFF
    assert (await bench.money())[1] == 0


# --- tools that fail themselves ---------------------------------------------------------------------------


@dataclass
class Fetch:
    """A tool that does, returns or raises what the test says."""

    name: str
    does: ToolResult | QuarterdeckError
    effect: Effect = "read"
    replay: Replay = "rerun"
    calls: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def spec(self) -> ToolSpec:
        schema = {"type": "object", "properties": {"page": {"type": "string"}}, "required": ["page"]}
        return ToolSpec(name=self.name, description="Fetch a page.", parameters=schema)

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        self.calls.append(arguments)
        if isinstance(self.does, QuarterdeckError):
            raise self.does
        return self.does

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


@dataclass
class Backed(Fetch):
    """One that declares a fallback."""

    fallback: str = "copy"


FETCH = Turn(actions=(act("tool", name="fetch", args={"page": "a"}),))
LISTED = AGENT.model_copy(update={"tools": ("fetch", "copy", "submit")})
COPY = ToolResult("the page")
DOWN = ToolResult("the service is down", ok=False, failure=FailureClass.TRANSIENT)
BROKE = WorkspaceOverLimit("it used too much memory")
ASKED = ("asked", "answered tools", "intended fetch allow")


async def fetched(bench: Kit, first: Fetch, second: Fetch, agent: Agent = LISTED, **more: Any) -> tuple[Wire, str]:
    """Both tools, one call of the first; the result that the agent was given."""
    async with bench.native(scenario(FETCH, SUBMIT), tools=(first, second), **more) as made:
        finished = await made.work(agent)
        assert finished.outcome is Outcome.OK
    done = next(event for event in await bench.events() if isinstance(event, ToolDone))
    return made, (await bench.journal.get(done.result_blob)).decode()


@pytest.mark.parametrize(
    ("first", "failure"),
    [
        (Backed("fetch", DOWN), "transient"),
        (Backed("fetch", DOWN, effect="execute", replay="ask"), "transient"),
        (Backed("fetch", BROKE), "tool"),
        (Backed("fetch", BROKE, effect="write", replay="rerun"), "tool"),
    ],
)
async def test_a_tool_that_fails_is_replaced_by_its_fallback(bench: Kit, first: Fetch, failure: str) -> None:
    first, second = deepcopy(first), Fetch("copy", COPY)
    made, text = await fetched(bench, first, second)
    assert text == "[`fetch` failed, `copy` was used instead]\nthe page"
    assert made.server.requests[1].last == text
    assert first.calls == second.calls == [{"page": "a"}]
    assert await journal(bench) == (
        *ASKED,
        f"fell back fetch to copy {failure}",
        "intended copy allow",
        "done copy ok fallback",
        *HAND_IN,
    )


@pytest.mark.parametrize(
    "first",
    [
        Backed("fetch", BROKE, effect="write", replay="ask"),
        Backed("fetch", ToolResult("no more money", ok=False, failure=FailureClass.QUOTA)),
        Backed("fetch", ToolResult("no such page", ok=False)),
        Backed("fetch", DOWN, fallback="not-given"),
        Fetch("fetch", DOWN),
    ],
    ids=["it may have changed something", "it would not pass", "an answer", "the agent has no such tool", "none"],
)
async def test_where_a_fallback_would_be_wrong_the_agent_is_told(bench: Kit, first: Fetch) -> None:
    second = Fetch("copy", COPY)
    await fetched(bench, first, second)
    assert second.calls == []
    assert await journal(bench) == (*ASKED, "done fetch failed", *HAND_IN)


async def test_a_fallback_goes_through_the_same_policy(bench: Kit) -> None:
    second = Fetch("copy", COPY)
    policy = DefaultPolicy({"implementer": frozenset({"fetch", "submit"})})
    _, text = await fetched(bench, Backed("fetch", DOWN), second, policy=policy)
    assert second.calls == []
    assert "the service is down" in text
    assert "Denied" in text
    assert await journal(bench) == (
        *ASKED,
        "fell back fetch to copy transient",
        "intended copy deny tool-listed",
        "done fetch failed",
        *HAND_IN,
    )


async def test_a_fallback_has_no_fallback(bench: Kit) -> None:
    first, second = Backed("fetch", DOWN), Backed("copy", DOWN, fallback="fetch")
    await fetched(bench, first, second)
    assert len(first.calls) == len(second.calls) == 1
    assert (await journal(bench))[-len(HAND_IN) - 1] == "done copy failed fallback"


class Killed(BaseException):
    """Stands for SIGKILL."""


async def test_killed_in_its_fallback_a_call_goes_on_with_that(bench: Kit) -> None:
    first, second = Backed("fetch", DOWN, replay="ask", effect="execute"), Fetch("copy", COPY)
    hits = iter(range(10))

    def trap(name: str) -> None:
        if name == "tool.effected" and next(hits) == 1:
            raise Killed

    probes.install(trap)
    async with bench.native(scenario(FETCH, SUBMIT), tools=(first, second)) as made:
        with pytest.raises(Killed):
            await made.work(LISTED)
        probes.install(None)
        assert (await made.work(LISTED)).outcome is Outcome.OK
    assert (len(first.calls), len(second.calls)) == (1, 2)
    assert await journal(bench) == (
        *ASKED,
        "fell back fetch to copy transient",
        "intended copy allow",
        "done copy ok fallback rerun",
        *HAND_IN,
    )


# --- what the operator sets -------------------------------------------------------------------------------


SIZED = {"anthropic:scripted": ModelSection(context=200_000)}


@asynccontextmanager
async def fleet(bench: Kit, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, key: Path) -> AsyncIterator[Fleet]:
    """The harnesses as a deck makes them, from its environment."""
    monkeypatch.setenv("ANTHROPIC_API_KEY_FILE", str(key))
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    made = Fleet(load_settings(), bench.journal, bench.treasury, bench.clock)
    try:
        yield made
    finally:
        await made.close()


async def test_a_key_rotated_in_its_file_is_taken_up(
    bench: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_text("old\n")
    wanted = RunConfig(deck=deck(models=SIZED))
    async with ScriptedServer(scenario(ONCE, SUBMIT).model_copy(update={"key": "new"})) as server:
        async with fleet(bench, server, monkeypatch, key) as made:
            assignment = await bench.assignment(AGENT, config=wanted)
            key.write_text("new\n")
            finished = await made.native(wanted).work(assignment)
        assert [asked.status for asked in server.requests] == [401, 200, 200]
    assert finished.outcome is Outcome.OK
    assert await journal(bench) == ("asked", "erred auth", *DONE)
    assert await log(bench) == "once\n"


async def test_deadlines_are_set_in_the_deck(bench: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    key.write_text("key")
    limits = {"connect": "5s", "first_byte": "2s", "idle": "90s", "total": "10m"}
    wanted = RunConfig(deck=DeckConfig.model_validate({**deck(models=SIZED).model_dump(), "deadlines": limits}))
    hangs = scenario(ONCE, SUBMIT, faults=(Fault(kind=Kind.HANG, step=0),))
    async with ScriptedServer(hangs) as server, fleet(bench, server, monkeypatch, key) as made:
        finished = await made.native(wanted).work(await bench.assignment(AGENT, config=wanted))
        assert [asked.end for asked in server.requests] == [End.ABORTED, End.FINISHED, End.FINISHED]
    assert finished.outcome is Outcome.OK
    erred = next(event for event in await bench.events() if isinstance(event, ModelErred))
    assert "the first sign of life took over 2 s" in erred.reason
    assert await log(bench) == "once\n"
