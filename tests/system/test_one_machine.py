"""Runs on a repository without a remote, on a deck of many workers: they are worked on where the repository is, and the
checks of a repository where it says."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from deck_kit import Place, git, task

from quarterdeck.assembly import open_deck
from quarterdeck.assembly.engines import own_label
from quarterdeck.assembly.tidying import tidy
from quarterdeck.delivery.routing import BARE
from quarterdeck.engine.port import Job, Later
from quarterdeck.engine.procrastinate import ProcrastinateEngine
from quarterdeck.engine.seats import Place as Takes
from quarterdeck.engine.seats import Seat
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.failures import Exit
from quarterdeck.settings import Settings, load_settings
from quarterdeck.store.opening import open_url
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.workspaces import Process, Workspaces

pytest_plugins = ("postgres_kit",)
pytestmark = [pytest.mark.sandbox, pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    Ground(tmp_path / "home").destroy()


def settings(place: Place, url: str) -> Settings:
    told = {"QUARTERDECK_HOME": str(place.home), "QUARTERDECK_DATABASE_URL": url}
    return load_settings({**os.environ, **told})


async def test_what_cannot_be_removed_yet_keeps_nothing_else_from_being(place: Place, workers_url: str) -> None:
    place.begin()
    place.operator("[workers]\nwithout_sandbox = true\n")
    async with open_deck(settings(place, workers_url)) as deck:
        run = await deck.create(place.order(task("one", "exit 3"), sandbox="none"))
        await deck.work(run)
        workspaces = Workspaces(deck._parts.ground)
        used, idle = f"{run}.one.8", f"{run}.one.9"
        for name in (used, idle):
            workspaces.create(name)
        owner, root = [await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE) for _ in range(2)]
        try:
            found = [asdict(process) for one in (owner, root) if (process := Process.of(one.pid)) is not None]
            (deck._parts.ground.place(used) / "owner.json").write_text(json.dumps(found))
            await tidy(deck._parts)
            assert workspaces.ids() == [used]
            await root.communicate(b"")
            await tidy(deck._parts)
            assert workspaces.ids() == []
        finally:
            for one in (owner, root):
                await one.communicate(b"")


async def test_a_stranger_takes_nothing_of_a_repository_that_it_cannot_see(place: Place, workers_url: str) -> None:
    place.begin(deck='runs_on = ["checks"]\n')
    place.operator("[workers]\nwithout_sandbox = true\n")
    store = await open_url(workers_url)
    stranger = ProcrastinateEngine(
        store, workers_url, Seat(ids.new_owner_id(), "far", 1, "0", labels=("checks", "host=far")), SystemClock()
    )
    taken: list[str] = []

    async def strange(job: Job) -> None:
        if job.kind in ("node.work", "gate.advance", "gate.check", "gate.withdraw"):
            taken.append(job.kind)
        raise Later(0.1, "it is not for a stranger to decide")

    async with open_deck(settings(place, workers_url), place=Takes(labels=("checks",))) as deck:
        strange_work = asyncio.create_task(
            stranger.serve(dict.fromkeys(deck.outside.handlers, strange), until_idle=False)
        )
        own = asyncio.create_task(deck.serve())
        try:
            run = await deck.create(place.order(task("one", "echo one > one.txt"), sandbox="none"))
            config = await deck.frozen(run)
            assert config.runs_on == (own_label(),)
            mark = 0
            async with asyncio.timeout(120):
                while not (await deck.views.run(run)).status.finished:
                    mark = await store.changed(mark, 1.0)
            result = await deck.result(run)
            assert result.exit_code == Exit.DONE, (result, await stranger.failed())
            assert git(place.repository, "show", f"{result.target.branch}:one.txt") == "one"
            created = await deck.ordered(run)
            started = [
                record.event
                for record in await deck.journal.read(ids.gate_stream(created.target))
                if isinstance(record.event, e.GateCheckStarted)
            ]
            assert {event.runs_on for event in started} == {("checks", own_label(), BARE)}
            assert taken == []
        finally:
            for one in (strange_work, own):
                one.cancel()
            await asyncio.gather(strange_work, own, return_exceptions=True)
            await stranger.close()
            await store.close()
