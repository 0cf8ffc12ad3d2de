"""Workers that share nothing but the database and a git remote: what one of them began, another one carries on.

The first worker is killed and everything it had is removed, the user's clone included: what the second one needs it
finds in the store and in the remote.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import store_kit
from deck_kit import Place, events, git, one, run_events, task

from quarterdeck.assembly import open_deck
from quarterdeck.assembly.parts import make
from quarterdeck.delivery.routing import BARE
from quarterdeck.engine import seats
from quarterdeck.govern.chain import DayCaps
from quarterdeck.govern.port import Link
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import to_nusd
from quarterdeck.kernel.events.packs import PackKept
from quarterdeck.kernel.failures import BudgetExhausted, Exit
from quarterdeck.settings import Settings, load_settings
from quarterdeck.testing.chaos.processes import Seen, Worker, model_server
from quarterdeck.testing.chaos.scene import Size, make_scene
from quarterdeck.testing.chaos.scene import git as scene_git
from quarterdeck.workplace.ground import Ground

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]


def database(root: Path) -> str:
    """The URL of the database that the homes share."""
    return store_kit.url(root / "deck.db") or str(root / "deck.db")


class Homes(Place):
    """A remote, a clone of it, and homes beside each other over one database."""

    @property
    def remote(self) -> Path:
        return self.root / "remote.git"

    def environment(self, home: str) -> dict[str, str]:
        return {"QUARTERDECK_HOME": str(self.root / home), "QUARTERDECK_DATABASE_URL": database(self.root)}

    def settings_of(self, home: str) -> Settings:
        return load_settings({**os.environ, **self.environment(home)})

    def publish(self) -> None:
        """Make the remote from what the clone holds."""
        git(self.root, "init", "-q", "--bare", str(self.remote))
        git(self.repository, "remote", "add", "origin", str(self.remote))
        git(self.repository, "push", "-q", "origin", "HEAD:refs/heads/main")

    def lose(self, home: str) -> None:
        """The machine with that home is gone, and the user's clone with it."""
        Ground(self.root / home).destroy()
        shutil.rmtree(self.root / home)
        shutil.rmtree(self.repository)


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Homes]:
    place = Homes(tmp_path)
    place.begin()
    place.publish()
    for home in ("a", "b"):
        (tmp_path / home).mkdir()
        (tmp_path / home / "deck.toml").write_text('[workers]\ntakeover = "3s"\n')
    yield place
    for home in ("a", "b"):
        Ground(tmp_path / home).destroy()


def begin(homes: Homes, probe: str, *tasks: dict[str, object]) -> None:
    """A run that is killed there."""
    arguments = ("run", "--plan", str(homes.plan(*tasks)), "--repo", str(homes.repository))
    code, _, errors = homes.call(*arguments, QUARTERDECK_PROBE=f"{probe}:kill", **homes.environment("a"))
    assert code == -signal.SIGKILL, errors


def landed(homes: Homes, branch: str) -> list[str]:
    """The tasks on the remote's branch, in order."""
    form = "--format=%(trailers:key=Quarterdeck-Task,valueonly,separator=)"
    return git(homes.remote, "log", "--reverse", form, f"main..{branch}").split()


@pytest.mark.parametrize("point", ["change.exported:1", "node.finished:2", "gate.checked:1", "gate.moved:1"])
async def test_another_home_carries_on(homes: Homes, point: str) -> None:
    unpushed = homes.commit({"later.txt": "not on the remote yet\n"})
    begin(homes, point, task("one", "echo one > one.txt"), task("two", "cat one.txt > two.txt", needs=["one"]))
    homes.lose("a")
    async with open_deck(homes.settings_of("b")) as deck:
        run = (await deck.views.runs())[0].run
        await deck.work(run)
        result = await deck.result(run)
        assert result.exit_code == Exit.DONE, result
        created = await deck.ordered(run)
        assert (created.repository, created.base) == (f"file://{homes.remote}", unpushed)
        assert landed(homes, result.target.branch) == ["one", "two"]
        assert git(homes.remote, "show", f"{result.target.branch}:two.txt") == "one"
        assert git(homes.remote, "notes", "--ref=quarterdeck", "show", result.target.sha).startswith(f"run {run}")
        assert any(isinstance(event, PackKept) for event in await run_events(deck, run))
        of_one = await events(deck, ids.attempt_stream(ids.attempt_id(run, "one", 1)))
        assert sum(isinstance(event, e.HarnessStarted) for event in of_one) == 1
        assert one(result, "one").attempts == 1
        assert (await deck.verify()).faults == ()
        assert git(homes.remote, "fsck", "--full", "--strict", "--no-dangling") == ""


async def test_no_machine_performs_what_has_no_sandbox_unless_its_own_file_says_that_it_does(homes: Homes) -> None:
    """Whoever may write to the database may order a run; that makes no machine do everything."""
    plan = homes.plan(task("one", "echo one > one.txt"))
    arguments = ("run", "--plan", str(plan), "--repo", str(homes.repository), "--sandbox", "none")
    code, _, errors = homes.call(*arguments, **homes.environment("a"))
    assert code == Exit.USAGE
    assert "no machine at work on this deck performs runs without a sandbox" in errors
    assert "[workers] without_sandbox = true" in errors
    (homes.root / "b" / "deck.toml").write_text('[workers]\ntakeover = "3s"\nwithout_sandbox = true\n')
    async with open_deck(homes.settings_of("b")) as deck:
        run = await deck.create(homes.order(task("one", "echo one > one.txt"), sandbox="none"))
    # The label says where such work is sent to. A worker that has it all the same refuses.
    async with open_deck(homes.settings_of("a"), place=seats.Place(labels=(BARE,))) as deck:
        working = asyncio.create_task(deck.work(run))
        async for record in deck.events(run):
            if isinstance(record.event, e.NodeDelayed):
                assert "this machine performs no runs without a sandbox" in record.event.reason
                break
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        of_one = await events(deck, ids.attempt_stream(ids.attempt_id(run, "one", 1)))
        assert not [event for event in of_one if isinstance(event, e.HarnessStarted | e.AttemptStarted)]
    async with open_deck(homes.settings_of("b")) as deck:
        await deck.work(run)
        assert (await deck.result(run)).exit_code == Exit.DONE


async def test_what_a_server_that_performs_nothing_says_holds_for_runs_of_other_machines(homes: Homes) -> None:
    """Its file alone has the caps; the run is ordered and performed where nothing is said."""
    (homes.root / "a" / "deck.toml").write_text("[budget]\ndeck_day = 20\n[limits]\nagents_at_once = 1\n")
    async with open_deck(homes.settings_of("a")) as server, server.serving("127.0.0.1", 0):
        async with open_deck(homes.settings_of("b")) as deck:
            assert await deck.day_caps() == DayCaps(user=50.0, deck=20.0)
        parts = await make(homes.settings_of("b"))
        await parts.agreed.begin(lasting=False)
        chain = (Link("deck/2026-11-21", to_nusd(200.0)),)
        with pytest.raises(BudgetExhausted, match=r"20\.00 USD are left for the whole deck"):
            await parts.store.write(lambda tx: parts.treasury.reserve(tx, chain, "r-1.t.1/1/1", to_nusd(20.5)))
        await parts.close()
        plan = homes.plan(task("one", "echo one > one.txt"), task("two", "echo two > two.txt"))
        arguments = ("run", "--plan", str(plan), "--repo", str(homes.repository))
        code, _, errors = await asyncio.to_thread(homes.call, *arguments, **homes.environment("b"))
        assert code == Exit.DONE, errors
        run = (await server.views.runs())[0].run
        held = [event for event in await run_events(server, run) if isinstance(event, e.WorkHeld)]
        assert [(event.limit, event.starts) for event in held] == [("agents_at_once", (f"{run}.two.1",))]
        assert held[0].reason == "1 attempts of the deck at work at the same time are the most"


def test_the_loop_goes_on_where_it_was_with_the_files_it_had(tmp_path: Path) -> None:
    """Every finished call's effect is there, none is made again, and the model is told what is gone."""
    first = make_scene(tmp_path, Size(commands=0, natives=1, seconds=0.0), database(tmp_path))
    second, seen = first.at("second"), Seen()
    with model_server(first) as model:
        order = ("run", "--plan", str(first.plan), "--repo", str(first.repository))
        with Worker(first, *order, seen=seen, model_url=model.url, probe="model.intended:4:kill") as worker:
            assert worker.finish() == -signal.SIGKILL, worker.errors
        run = worker.run
        first.ground.destroy()
        shutil.rmtree(first.home)
        with Worker(second, "resume", run, seen=seen, model_url=model.url) as worker:
            assert worker.finish() == Exit.DONE, worker.errors
    try:
        assert scene_git(first.landing, "rev-parse", f"quarterdeck/{run}^{{tree}}") == first.tree
        kinds = [line["event"]["kind"] for line in seen.records.values()]
        assert kinds.count("attempt.started") == 1  # it is the same workspace, made anew
        assert kinds.count("workspace.kept") == 3  # two commands and a written file, each with its outcome
        said = [
            line["event"]["why"] for line in seen.records.values() if line["event"]["kind"] == "transcript.extended"
        ]
        assert said.count("reminder:remade") == 1
        assert seen.rewritten == []
    finally:
        for scene in (first, second):
            scene.ground.destroy()
