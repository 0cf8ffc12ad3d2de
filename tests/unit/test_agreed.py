"""What machines with files of their own agree on: the least that any of them says holds on all of them."""

import tomllib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_kit import open_at

from quarterdeck.assembly.agreed import Agreed, Days, Words, machine_of
from quarterdeck.govern.agreeing import ENDLESS, Kind, narrowed
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.chain import DayCaps
from quarterdeck.govern.port import Link
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DayBudget, LimitsSection, OperatorConfig, RunConfig
from quarterdeck.kernel.entities import to_nusd
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.store.port import Store, Tx


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_at(tmp_path / "deck.db")
    yield store
    await store.close()


class _Clock(SystemClock):
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class _Machine:
    """A machine at work whose file can be changed."""

    def __init__(self, store: Store, name: str, clock: _Clock, deck: str = "") -> None:
        self.words = Words(lambda: self.file)
        self.agreed = Agreed(store, lambda: name, clock, self.words)
        self.days = Days(self.agreed, lambda: self.file)
        self.write(deck)

    def write(self, deck: str) -> None:
        """What its file has from now on."""
        self.file = OperatorConfig.model_validate(tomllib.loads(deck))


async def _later(clock: _Clock, *machines: _Machine) -> None:
    """Everybody has said what there is to say, and then looked."""
    for _ in range(2):
        clock.now += 10.0
        for machine in machines:
            await machine.agreed.tell()


def _long_gone(tx: Tx) -> None:
    """The machine of that name has not been heard of for long."""
    for kind, name, most in (("days", "deck", to_nusd(20.0)), ("limits", "agents_at_once", 3)):
        tx.run("told_say", kind=kind, provider=name, holder="gone", most=most, until=1.0, lasting=1)


def _long_over(holder: str, tx: Tx) -> None:
    """What the run in that process said counts no longer."""
    for row in tx.run("told_by", holder=holder):
        tx.run("told_say", **{**row, "holder": holder, "until": 1.0, "lasting": 0})


async def test_what_one_machines_file_says_holds_on_all_of_them(store: Store) -> None:
    """The least of it, also where a file says nothing; what was taken out of a file counts no longer."""
    clock = _Clock()
    at_once = ("[workers.calls_at_once]\np = 9\nq = 5\n", "[workers.calls_at_once]\np = 4\n", "")
    machines = [_Machine(store, f"m-{n}", clock, deck) for n, deck in enumerate(at_once)]

    async def said(kind: Kind, provider: str) -> list[int | None]:
        await _later(clock, *machines)
        return [await machine.agreed.most(kind, provider) for machine in machines]

    assert await said("calls_at_once", "p") == [4, 4, 4]
    assert await said("calls_at_once", "q") == [5, 5, 5]
    assert await said("calls_at_once", "r") == [None, None, None]
    assert await said("calls_per_minute", "p") == [None, None, None], "of another kind"
    machines[1].write("")
    assert await said("calls_at_once", "p") == [9, 9, 9]


async def test_the_least_cap_that_a_file_says_is_the_decks_and_a_default_is_not_said(store: Store) -> None:
    clock = _Clock()
    server = _Machine(store, "server", clock, "[budget]\ndeck_day = 20\n")
    worker, other = _Machine(store, "worker", clock), _Machine(store, "other", clock, "[budget]\nuser_day = 300\n")
    machines = (server, worker, other)
    await _later(clock, *machines)
    assert [machine.days.now() for machine in machines] == [DayCaps(user=300.0, deck=20.0)] * 3
    server.write("[budget]\ndeck_day = 1000\n")
    assert server.days.now().deck == 1000.0, "at once where the file is"
    await _later(clock, *machines)
    assert [machine.days.now().deck for machine in machines] == [1000.0] * 3, "raised beyond the default"
    server.write("")
    await _later(clock, *machines)
    assert [machine.days.now().deck for machine in machines] == [200.0] * 3
    assert worker.days(RunConfig(deck={}, narrowed=DayBudget(deck_day=3.0))).deck == 3.0


async def test_a_limit_does_not_end_with_who_set_it_and_keeps_nobody_from_another_one(store: Store) -> None:
    clock = _Clock()
    gone = _Machine(store, "gone", clock, "[budget]\ndeck_day = 20\n[limits]\nagents_at_once = 3\n")
    worker = _Machine(store, "worker", clock)
    await _later(clock, gone, worker)
    await store.write(_long_gone)
    await _later(clock, worker)
    assert worker.days.now().deck == 20.0
    worker.write("[budget]\ndeck_day = 90\n")
    await _later(clock, worker)
    assert worker.days.now().deck == 90.0, "who is at work has the word"
    other = _Machine(store, "other", clock, "[limits]\nagents_at_once = 'none'\n")
    await _later(clock, other, worker)
    own = LimitsSection(agents_at_once=50)
    found = [await store.write(lambda tx, m=m: narrowed(own, m.agreed.limits(tx, 0.0))) for m in (worker, other)]  # type: ignore[misc]  # bound
    assert [limits.agents_at_once for limits in found] == [50, 50]
    again = _Machine(store, "gone", clock, "")
    await _later(clock, again, worker)
    assert worker.days.now().deck == 90.0


async def test_what_one_run_said_ends_with_it_and_takes_no_lasting_word_away(store: Store) -> None:
    clock = _Clock()
    worker = _Machine(store, "worker", clock)
    await _later(clock, _Machine(store, "gone", clock, "[budget]\ndeck_day = 20\n"), worker)
    await store.write(_long_gone)
    laptop = _Machine(store, "laptop", clock, "[budget]\ndeck_day = 90\nuser_day = 1\n")
    await laptop.agreed.begin(lasting=False)
    await _later(clock, worker)
    assert worker.days.now() == DayCaps(user=1.0, deck=90.0), "it is at work"
    await laptop.agreed.end()
    laptop.write("")
    await _later(clock, laptop, worker)
    assert worker.days.now() == DayCaps(user=50.0, deck=20.0)

    def over(tx: Tx) -> None:
        tx.run("told_say", kind="days", provider="user", holder="laptop/2", most=1, until=1.0, lasting=0)

    await store.write(over)
    await _later(clock, worker)
    assert worker.days.now() == DayCaps(user=50.0, deck=20.0), "nobody has heard of it for long"


async def test_a_run_corrects_what_its_home_said_and_takes_back_no_word_that_still_stands_there(store: Store) -> None:
    """A limit outlives also the run that was worked on in the home whose file has it."""
    clock = _Clock()
    worker = _Machine(store, "worker", clock)
    await _later(
        clock, _Machine(store, "gone", clock, "[budget]\ndeck_day = 20\n[limits]\nagents_at_once = 3\n"), worker
    )
    await store.write(_long_gone)
    for file, caps in (
        ("[budget]\ndeck_day = 20\n[limits]\nagents_at_once = 3\n", DayCaps(user=50.0, deck=20.0)),
        ("[budget]\ndeck_day = 30\n[limits]\nagents_at_once = 3\n", DayCaps(user=50.0, deck=30.0)),
        ("[limits]\nagents_at_once = 3\n", DayCaps(user=50.0, deck=200.0)),
    ):
        run = _Machine(store, "gone", clock, file)
        await run.agreed.begin(lasting=False)
        await run.agreed.end()
        await store.write(partial(_long_over, run.agreed._name))
        await _later(clock, worker)
        assert worker.days.now() == caps
        assert await store.write(lambda tx: worker.agreed.limits(tx, 0.0)) == {"agents_at_once": 3}


async def test_a_command_that_only_looks_says_nothing_and_shows_what_holds(store: Store) -> None:
    clock = _Clock()
    looking = _Machine(store, "laptop", clock, "[budget]\ndeck_day = 5\n")
    await looking.agreed.look()
    assert looking.days.now().deck == 5.0, "as long as nobody says anything"
    server = _Machine(store, "server", clock, "[budget]\ndeck_day = 20\n")
    await _later(clock, server)
    await looking.agreed.look()
    assert looking.days.now().deck == 20.0
    await _later(clock, server)
    assert server.days.now().deck == 20.0


async def test_what_is_agreed_narrows_what_is_reserved_while_an_attempt_is_at_work(store: Store) -> None:
    clock = _Clock()
    machine = _Machine(store, "m", clock, "[budget]\nuser_day = 7\ndeck_day = 9\n")
    await _later(clock, machine)
    budgets = Budgets(partial(machine.agreed.now, "days"))
    chain = (Link("user/ada/2026-11-21", to_nusd(50.0)), Link("deck/2026-11-21", to_nusd(8.0)))

    def reserve(holder: str, usd: float) -> Callable[[Tx], None]:
        return lambda tx: budgets.reserve(tx, chain, holder, to_nusd(usd))

    await store.write(reserve("a/1", 6.5))
    machine.write("[budget]\nuser_day = 6\n")
    with pytest.raises(BudgetExhausted) as refused:
        await store.write(reserve("a/2", 0.1))
    assert (refused.value.purse, refused.value.cap_nusd) == ("user/ada/2026-11-21", to_nusd(6.0))
    machine.write("[budget]\nuser_day = 70\n")
    with pytest.raises(BudgetExhausted) as refused:
        await store.write(reserve("a/2", 2.0))
    assert (refused.value.purse, refused.value.cap_nusd) == ("deck/2026-11-21", to_nusd(8.0))
    await store.write(reserve("a/2", 1.5))


def test_the_name_of_a_machine_is_kept_in_its_home(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    here.mkdir()
    there.mkdir()
    assert machine_of(here) == machine_of(here) != machine_of(there)
    assert [file.name for file in here.iterdir()] == ["machine"]
    assert machine_of(tmp_path / "none") != machine_of(tmp_path / "none")


@given(st.integers(1, 10**6), st.one_of(st.none(), st.integers(1, 10**6)))
def test_a_run_has_the_least_of_its_own_limits_and_the_decks(own: int, said: int | None) -> None:
    told = {"agents_at_once": ENDLESS if said is None else said}
    assert narrowed(LimitsSection(agents_at_once=own), told).agents_at_once == (own if said is None else min(own, said))
    unbounded = narrowed(LimitsSection(agents_at_once="none"), told)
    assert unbounded.agents_at_once == ("none" if said is None else said)
    assert narrowed(LimitsSection(), {}) == LimitsSection()
