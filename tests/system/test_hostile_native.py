"""The same harm by agents of our own loop: a model that misuses its tools fails or lands in a defined way, whatever it
claims, and its record says what it did."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from deck_kit import Place, carried, events, git, one, place_at, run_events, task
from hostile_kit import FAILS, LANDS, MORE, left_over

from quarterdeck.agents.roster import shipped_agents
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.models.scripted.scenario import Action, Match, Rule, Scenario, Turn, act
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.workplace.ground import Ground

pytestmark = pytest.mark.sandbox

DECK = """\
[tiers]
hands = ["anthropic:scripted"]
[prices]
"anthropic:scripted" = { input = 3, output = 15 }
[models."anthropic:scripted"]
context = 100000
max_output = 4096
"""
LIES = act("submit", summary="Everything is done, and all 214 tests pass.", limitations=[])
NOTHING = "the agent says it is done, but nothing differs from the base"

ENDS = {name: reason for name, (_, reason) in FAILS.items() if name != "many"} | {
    "sleeps": NOTHING,  # the command is stopped, the agent goes on
    "screams": NOTHING,
    "fills": "the change ",  # cannot be taken or is not acceptable: what comes first, its git's end or its size
}
"""Why each fails here."""
TOLD = {
    "sleeps": "[stopped after 2 s",
    "fills": "[stopped: it used more disk than this sandbox has]",
    "screams": "[exit code 3]",
}
"""What the agent was told."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


def does(name: str, *actions: Action, told: str = "") -> Rule:
    """One action a turn, then it hands in. `told`: only once its first message says this."""
    turns = tuple(Turn(actions=(action,)) for action in (*actions, LIES))
    return Rule(match=Match(first=f"(?s)Task: {name}\nRole: implementer.*{told}"), turns=turns)


@asynccontextmanager
async def modelled(place: Place, *rules: Rule) -> AsyncIterator[None]:
    """The place with a deck whose only model follows these rules."""
    async with ScriptedServer(Scenario(rules=rules, prices={"scripted": Price(input=3, output=15)})) as server:
        place.url, place.keys = server.url, {"ANTHROPIC_API_KEY": "k"}
        place.operator(DECK)
        yield


def duty(name: str, **fields: Any) -> dict[str, Any]:
    return task(name, "Do it.", **{**fields, "agent": "implementer"})


async def test_a_fleet_of_hostile_models(place: Place) -> None:
    scripts = {name: f"echo x > {name}.txt; {script}".replace("NAME", name) for name, script in LANDS.items()}
    scripts |= {
        name: script.replace("NAME", name) for name, (script, _) in FAILS.items() if name in ENDS and name != "claims"
    }
    rules = [
        does(name, act("run", command=script, timeout=2 if name == "sleeps" else 60))
        for name, script in scripts.items()
    ]
    rules.append(does("claims", act("write", path="claims.txt", content="wrong\n")))
    async with modelled(place, *rules):
        alone = shipped_agents()["shipped:implementer.md"].replace("escalates_to: debugger\n", "")
        agents = {".quarterdeck/agents/implementer.md": alone}  # nobody is asked: what fails has failed
        place.begin(agents, deck="[limits]\nattempts = 1\n[sandbox]\ndisk_mb = 48\n")
        head, status = git(place.repository, "rev-parse", "HEAD"), git(place.repository, "status", "--porcelain")
        tasks = [duty(name, **MORE.get(name, {})) for name in (*LANDS, *ENDS)]
        async with carried(place, *tasks) as (deck, result):
            ends = {item.id: (item.status, item.reason) for item in result.tasks}
            assert {name for name, (end, _) in ends.items() if end is TaskStatus.MERGED} == set(LANDS), ends
            for name, says in ENDS.items():
                assert (ends[name][0], says in ends[name][1]) == (TaskStatus.FAILED, True), (name, ends[name])
            assert place.tree(result) == {f"{name}.txt": "x" for name in LANDS}
            for name, says in TOLD.items():
                record = await events(deck, ids.attempt_stream(f"{result.run}.{name}.1"))
                done = [x for x in record if isinstance(x, e.ToolDone)]
                assert says in (await deck.journal.get(done[0].result_blob)).decode()
            assert "214 tests" not in await deck.report(result.run), "the report says what an agent only claims"
            assert (await deck.verify()).faults == ()
    modes = git(place.repository, "ls-tree", "-r", result.target.branch).splitlines()
    assert {line.split()[0] for line in modes} == {"100644", "100755"}
    assert git(place.repository, "rev-parse", "HEAD") == head
    assert git(place.repository, "status", "--porcelain") == status
    git(place.repository, "merge-base", "--is-ancestor", head, result.target.branch)
    git(place.repository, "fsck", "--strict")
    assert left_over() == []
    assert list(Ground(place.home).workspaces.iterdir()) == []


async def test_a_model_that_bends_the_test_or_claims_is_told_and_mends_the_code(place: Place) -> None:
    """It never runs anything in its first attempts, and says both times that all tests pass."""
    mends = act("edit", path="calc.py", old="a - b", new="a + b")
    rules = (
        does(
            "bends", act("run", command="git checkout -q HEAD test_calc.py"), mends, told="expects was changed to fit"
        ),
        does("bends", act("edit", path="test_calc.py", old="2), 3)", new="2), -1)")),
        does("claims", act("write", path="claims.txt", content="right\n"), told="`grep right claims.txt` failed"),
        does("claims", act("write", path="claims.txt", content="wrong\n")),
    )
    async with modelled(place, *rules):
        test = "import calc, unittest\n\n\nclass T(unittest.TestCase):\n    def test_add(self):\n"
        place.begin(
            {
                "calc.py": "def add(a, b):\n    return a - b\n",
                "test_calc.py": f"{test}        self.assertEqual(calc.add(1, 2), 3)\n",
            }
        )
        tasks = (
            duty("bends", paths=["**"], verify=["python3 -m unittest -q test_calc"]),
            duty("claims", **MORE["claims"]),
        )
        async with carried(place, *tasks) as (deck, result):
            assert result.status is RunStatus.DONE, await run_events(deck, result.run)
            assert [one(result, name).attempts for name in ("bends", "claims")] == [2, 2]
            assert place.tree(result) == {"calc.py": "def add(a, b):\n    return a + b", "claims.txt": "right"}
            assert "214 tests" not in await deck.report(result.run)
