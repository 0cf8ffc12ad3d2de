"""What the gateway's calls share with everybody else's: the provider's patience, and the day's money."""

from pathlib import Path

from gateway_kit import CLAUDE, bench, body, client, path

from quarterdeck.govern.chain import day_of
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.models.limiter import CLOSER, FIRST_GAP, Limiters
from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.scenario import Rule, Scenario, Turn
from quarterdeck.models.scripted.server import ScriptedServer

DAY = 86_400.0


class Hours:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


def scenario(*faults: Fault) -> Scenario:
    return Scenario(rules=(Rule(turns=(Turn(text="Hello."),), faults=faults, repeat=True),))


async def test_what_its_calls_meet_and_how_they_end_is_known_to_the_limiter(tmp_path: Path) -> None:
    """A complaint that use grew too fast keeps the calls a second apart; each answer brings them closer."""
    hours = Hours()
    limiters = Limiters(hours, hours.sleep)
    slow = Fault(kind=Kind.SLOW_DOWN)
    async with (
        ScriptedServer(scenario(slow)) as server,
        bench(tmp_path, server, limiters=limiters) as at,
        client(await at.grant()) as inside,
    ):
        for _ in range(3):
            assert (await inside.post(path(CLAUDE), json=body(CLAUDE))).status_code == 200
    assert hours.slept == [FIRST_GAP, FIRST_GAP * CLOSER, FIRST_GAP * CLOSER**2]


async def test_a_call_is_paid_from_the_day_on_which_it_leaves(tmp_path: Path) -> None:
    """Whose key was made days ago spends the money of today."""
    began = SystemClock().wall()
    async with (
        ScriptedServer(scenario()) as server,
        bench(tmp_path, server) as at,
        client(await at.grant(ago=3 * DAY)) as inside,
    ):
        assert (await inside.post(path(CLAUDE), json=body(CLAUDE))).status_code == 200
        await at.events(2)
        days = {day_of(began), day_of(SystemClock().wall())}
        assert sum([(await at.purse(f"user/ada/{day}"))[0] for day in days]) == (await at.purse())[0] > 0
        assert await at.purse(f"user/ada/{day_of(began - 3 * DAY)}") == (0, 0)
