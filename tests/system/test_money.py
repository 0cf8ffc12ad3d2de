"""Caps hold against what was billed, not against our own books: many callers, broken streams, kills, days, resumes."""

import asyncio
import functools
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import store_kit
from agent_kit import RUN, TASK, Kit, Moving, deck, kit, scenario
from deck_kit import Place, carried, one, place_at, task
from store_kit import open_at

from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.chain import DayCaps, chain_of, day_of, run_purse
from quarterdeck.govern.port import Link
from quarterdeck.journal.views import PurseView, Views
from quarterdeck.kernel.config import DayBudget, ModelSection, Price, RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.events import Outcome, RunStatus, TaskStatus
from quarterdeck.kernel.failures import Exit
from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.scenario import Latency, Match, Rule, Scenario, Turn, act
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.store.port import Store

OTHER = "r-other"
RUN_CAP = 500_000_000
DAY_CAP = 800_000_000
AGENT = Agent(name="implementer", prompt="You implement.")
WORDS = "money " * 100
LOOKS = Turn(text=WORDS, actions=(act("todo", items=[{"text": "look", "status": "doing"}]),))
BREAKS = {
    "Greet": Fault(kind=Kind.NO_USAGE, step=1),
    "No luck": Fault(kind=Kind.OVERLOADED, step=0),
    "Less luck": Fault(kind=Kind.OVERLOADED_MIDSTREAM, step=0, after=6),
    "Bad luck": Fault(kind=Kind.CUT, step=0, after=12, clean=False),
}
"""What an agent meets, by the title of its task."""


class Paced(Moving):
    """A clock whose sleepers sleep until something was committed: what they wait for is on record then. Where nothing
    is, they all wait for the time alone, and it comes."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    async def sleep(self, seconds: float) -> None:
        due, mark = self._gone + seconds, await self._store.changed(0, 0)
        if await self._store.changed(mark, 0.02) == mark:
            self._gone = max(self._gone, due)


async def test_a_hundred_callers_never_bring_the_bill_above_a_cap(tmp_path: Path) -> None:
    """Fifty agents of each of two runs, on the caps of both runs and of the deck's day, on a wire that breaks."""
    async with kit(tmp_path, budget_nusd=RUN_CAP) as bench:
        await bench.store.write(lambda tx: bench.treasury.open(tx, run_purse(OTHER), RUN_CAP))
        turns = (LOOKS,) * 12
        rules = (Rule(match=Match(first=f"# {title}"), turns=turns, faults=(fault,)) for title, fault in BREAKS.items())
        script = scenario(rules=tuple(rules))
        async with bench.native(script, clock=Paced(bench.store)) as wire:
            outcomes = await asyncio.gather(*(_attempt(bench, wire.harness.work, number) for number in range(100)))
        await _check_bill(bench, wire.server)
    assert Outcome.EXHAUSTED in outcomes


async def _attempt(bench: Kit, work: object, number: int) -> Outcome:
    assert callable(work)
    run = RUN if number % 2 else OTHER
    paid = chain_of(
        run=run,
        task="greet",
        attempt=f"{RUN}.greet.{number + 1}",
        user="ada",
        days=DayCaps(user=50.0, deck=DAY_CAP / 1e9),
        now=bench.clock.wall(),
    )
    small = {"anthropic:scripted": ModelSection(max_output=256)}
    config = RunConfig(deck=deck(models=small))
    given = TASK.model_copy(update={"title": list(BREAKS)[number // 2 % len(BREAKS)]})
    finished = await work(await bench.assignment(AGENT, number + 1, chain=paid, config=config, task=given))
    outcome: Outcome = finished.outcome
    return outcome


async def _check_bill(bench: Kit, server: ScriptedServer) -> None:
    assert server.total.unpriced == 0
    billed = dict.fromkeys((RUN, OTHER), 0)
    for (_, tag), bill in server.billed.items():
        billed[RUN if int(tag.rpartition(".")[2]) % 2 == 0 else OTHER] += bill.nusd
    day = day_of(bench.clock.wall())
    for purse, real, cap in (
        (run_purse(RUN), billed[RUN], RUN_CAP),
        (run_purse(OTHER), billed[OTHER], RUN_CAP),
        (f"deck/{day}", sum(billed.values()), DAY_CAP),
    ):
        settled, reserved = await bench.purse(purse)
        assert (real <= settled <= cap, reserved) == (True, 0), f"{purse}: billed {real}, settled {settled} of {cap}"
    assert settled > DAY_CAP * 0.9, "a cap that nobody comes near says nothing"
    assert sum(billed.values()) > DAY_CAP // 8, "what broke is estimated, and rather too high"
    missing = {fault.kind for fault in BREAKS.values()} - {asked.fault for asked in server.requests}
    assert not missing, f"{missing} of {Counter(asked.fault for asked in server.requests)}"


_SPENDER = """
import asyncio, sys
from pathlib import Path
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.port import Link
from quarterdeck.journal.views import PurseView, Views
from quarterdeck.kernel.config import DayBudget, DeckConfig, RunConfig
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.store.opening import open_url

CHAIN = (Link("run/r", None, opened=True), Link("deck/2026-11-21", 10**6))

async def main(path, name):
    store = await open_url(path)
    for number in range(1000):
        holder = f"{name}/{number}"
        try:
            await store.write(lambda tx: Budgets().reserve(tx, CHAIN, holder, 7))
        except BudgetExhausted:
            break
        await store.write(lambda tx: Budgets().settle(tx, holder, 7))
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


async def test_several_processes_share_one_purse(tmp_path: Path) -> None:
    store = await open_at(tmp_path / "deck.db")
    await store.write(lambda tx: Budgets().open(tx, "run/r", 300))
    where = store_kit.url(tmp_path / "deck.db") or str(tmp_path / "deck.db")
    starts = (asyncio.create_subprocess_exec(sys.executable, "-c", _SPENDER, where, name) for name in "abc")
    processes = await asyncio.gather(*starts)
    assert await asyncio.gather(*(process.wait() for process in processes)) == [0, 0, 0]
    (purse,) = await Views(store).purses("run/")
    assert purse == PurseView("run/r", 300, 294, 0)
    await store.close()


# --- whole runs -----------------------------------------------------------------------------------------------

HOME = """\
[tiers]
hands = ["anthropic:scripted"]
[prices]
"anthropic:scripted" = {{ input = 3, output = 15 }}
[models."anthropic:scripted"]
context = 100000
max_output = 2048
[budget]
user_day = {user_day}
"""
PRICE = Price(input=3.0, output=15.0)
HAND_IN = Turn(actions=(act("submit", summary="done"),))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


def _writes(name: str, *texts: str) -> Rule:
    turns = (Turn(text=WORDS, actions=(act("write", path=f"{name}.txt", content=text),)) for text in texts)
    return Rule(match=Match(first=f"Task: {name}\n"), turns=(*turns, HAND_IN))


@asynccontextmanager
async def _scripted(
    place: Place, *rules: Rule, user_day: float = 50.0, latency: Latency | None = None
) -> AsyncIterator[ScriptedServer]:
    script = Scenario(rules=rules, prices={"scripted": PRICE}, latency=latency or Latency())
    async with ScriptedServer(script) as server:
        place.url, place.keys = server.url, {"ANTHROPIC_API_KEY": "k"}
        _allow(place, user_day)
        place.begin(deck="[budget]\ndeck_day = 150\nuser_day = 300\n")
        yield server


def _allow(place: Place, user_day: float) -> None:
    place.operator(HOME.format(user_day=user_day))


def _native(name: str, **fields: object) -> dict[str, object]:
    return task(name, "write it", agent="implementer", **{"verify": [f"test -s {name}.txt"], **fields})


@pytest.mark.sandbox
async def test_a_day_that_is_used_up_keeps_what_is_done_until_the_operator_allows_more(place: Place) -> None:
    """The cap is read again: neither the deck nor the process that works on it has to be started anew."""
    await _cheap_days(place)
    rules = (_writes("a", "a"), _writes("b", *(f"b{number} " * 1500 for number in range(6))))
    tasks = (_native("a"), _native("b"), _native("c", needs=["a", "b"]))
    async with (
        _scripted(place, *rules, _writes("c", "c"), user_day=0.15) as server,
        carried(place, *tasks, max_parallel=1) as (deck, result),
    ):
        assert (result.status, result.exit_code) == (RunStatus.PARTIAL, Exit.BUDGET), result
        assert [one(result, name).status for name in "abc"] == [
            TaskStatus.MERGED,
            TaskStatus.FAILED,
            TaskStatus.BLOCKED,
        ]
        assert server.total.nusd <= 150_000_000
        for words in (
            "of 0.15 USD are left for ada on",
            "frees at",
            "[budget] user_day",
            f"resume {result.run} --retry",
        ):
            assert words in result.reason
            assert words in await deck.report(result.run)
        assert (await deck.frozen(result.run)).narrowed == DayBudget(user_day=300.0, deck_day=150.0)
        _allow(place, 50.0)
        await deck.control(result.run, "resume")
        await deck.work(result.run)
        result = await deck.result(result.run)
        assert result.status is RunStatus.DONE, result.reason
        purses = [purse for purse in await deck.views.purses() if purse.purse.startswith(("user/ada/", "deck/"))]
        days = [purse.settled_nusd for purse in purses if not purse.purse.startswith(_CHEAP)]
        assert sum(days) == 2 * server.total.nusd
    await asyncio.to_thread(_told, place, result.run, server.total.nusd / 1e9)


_CHEAP = "deck/2026-01"


async def _cheap_days(place: Place) -> None:
    """Five days on which nearly nothing was spent."""
    store = await open_at(place.home / "deck.db")
    for day in range(10, 15):
        chain = (Link(f"{_CHEAP}-{day}", None),)
        await store.write(functools.partial(Budgets().reserve, chain=chain, holder="r-0.t.1/1/1", amount_nusd=day))
        await store.write(functools.partial(Budgets().settle, holder="r-0.t.1/1/1", cost_nusd=day))
    await store.close()


def _told(place: Place, run: str, cost_usd: float) -> None:
    """What `cost` says, to a script and to a person."""
    for by, cap in (("user", 50.0), ("run", 5.0)):
        (line,) = (json.loads(text) for text in place.call("cost", "--by", by, "--json")[1].splitlines())
        assert line["cost_usd"] == line["settled_usd"] == pytest.approx(cost_usd)
        assert (line["reserved_usd"], line["cap_usd"]) == (0.0, cap)
    _, said, warned = place.call("cost")
    assert f"{run}: spending is unusual: " in warned
    assert [line["notices"] for line in map(json.loads, place.call("ps", "--json")[1].splitlines())] == [1]
    for words in ("DAY (UTC)", "ada", run, "implementer", "anthropic:scripted", "$200.00", "$50.00", "$5.00"):
        assert words in said


@pytest.mark.sandbox
async def test_kills_never_bring_the_bill_above_the_cap(place: Place) -> None:
    """SIGKILL while calls are under way, again and again, until the run itself ends by its budget."""
    rng = random.Random(7)
    rules = [_writes(name, *(f"{name}{number} " * 300 for number in range(8))) for name in "abc"]
    slow = Latency(first_byte=0.02, per_token=0.0001)
    async with _scripted(place, *rules, latency=slow) as server:
        place.plan(*map(_native, "abc"))
        cap, run, codes = 300_000_000, "", [-signal.SIGKILL]
        while codes[-1] == -signal.SIGKILL and len(codes) < 12:
            command = ("resume", run) if run else ("run", "--plan", str(place.root / "plan.json"), "--budget", "0.3")
            code, run = await _until_killed(place, server, rng.randint(2, 9), run, *command, "--json")
            codes.append(code)
            assert server.total.nusd <= cap
        assert codes[-1] == Exit.BUDGET
        assert len(codes) > 3, "a cap that is reached at once says nothing about kills"
        assert cap // 8 < server.total.nusd <= cap


async def _until_killed(
    place: Place, server: ScriptedServer, requests: int, run: str, *arguments: str
) -> tuple[int, str]:
    """Let it work until so many more requests arrived, then kill it; its exit code, and the run's id."""
    with place.quarterdeck(*arguments) as process:
        ended = asyncio.create_task(asyncio.to_thread(process.communicate))
        seen = asyncio.create_task(server.seen(len(server.requests) + requests))
        await asyncio.wait((ended, seen), return_when=asyncio.FIRST_COMPLETED)
        process.kill()
        out, _ = await ended
        seen.cancel()
        await server.idle()
        return process.wait(), run or str(json.loads(out.splitlines()[0])["run"])
