"""How soon the agents of a killed worker go on elsewhere: the shipped command, sandboxes, a remote, one PostgreSQL.

Rules
- Two workers without a common home share a database and a git remote. All agents are at work when one of them is killed
  (SIGKILL), and the other one has places for them all.
- Times are from the kill to the time of the record, on the machine's clock: the first new record of each attempt that
  the dead worker had in its hands, and the first step that it begins again.
"""

import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg

from bench.bench_resume import make_scene
from bench.fleet_load import open_folder
from quarterdeck.assembly import Deck
from quarterdeck.assembly.parts import make
from quarterdeck.delivery.order import Order
from quarterdeck.settings import load_settings
from quarterdeck.testing.chaos.processes import kill_all, model_server
from quarterdeck.testing.chaos.scene import Scene, git
from quarterdeck.testing.postgres_server import Server
from quarterdeck.workplace.watchdog import descendants

_PATIENCE: Final = 120.0
_LOOK: Final = 0.05
_HANDS: Final = """
SELECT j.args ->> 'lock', w.pid FROM procrastinate_jobs AS j JOIN workers AS w ON w.id = j.worker_id
WHERE j.status = 'doing' AND j.task_name = 'node.work'
"""
_NEW: Final = """
SELECT s.name, e.at, convert_from(e.body, 'UTF8') FROM events AS e JOIN streams AS s ON s.id = e.stream
WHERE e.at > %s AND s.name = ANY(%s) ORDER BY e.id
"""
_MOVED: Final = "SELECT name, seq FROM streams WHERE name LIKE 'attempt/%'"
_STEPS: Final = 6
"""Records of an attempt that is at work: it has started, and asked its model."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds after the kill, by attempt."""

    held: Mapping[str, float]
    """When another worker was seen to have it."""
    recorded: Mapping[str, float]
    stepped: Mapping[str, float]

    @property
    def last_held(self) -> float:
        return max(self.held.values())

    @property
    def median(self) -> float:
        return statistics.median(self.recorded.values())

    @property
    def last(self) -> float:
        return max(self.recorded.values())

    @property
    def last_step(self) -> float:
        return max(self.stepped.values())


def shared(scene: Scene, url: str, seconds: float) -> Scene:
    """The scene with a remote, for workers that share the database at `url` and are missed after so many seconds."""
    remote = scene.folder / "remote.git"
    git(scene.folder, "init", "-q", "--bare", str(remote))
    git(scene.repository, "remote", "add", "origin", str(remote))
    git(scene.repository, "push", "-q", "origin", "HEAD:refs/heads/main")
    with (scene.home / "deck.toml").open("a") as file:
        file.write(f'[workers]\ntakeover = "{seconds:g}s"\n')
    return replace(scene, database=url)


@contextmanager
def worker(scene: Scene, name: str, model_url: str, capacity: int) -> Iterator[subprocess.Popen[str]]:
    """A `quarterdeck worker` with a home of its own, once it takes jobs."""
    home = scene.folder / name
    home.mkdir()
    shutil.copy(scene.home / "deck.toml", home / "deck.toml")
    with (home / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "quarterdeck.cli.main", "worker", "--capacity", str(capacity), "--json"],
            env=replace(scene, name=name).environment(model_url), cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise SystemExit(f"a worker did not start: {(home / 'errors').read_text()[-2000:]}")
        yield process
    finally:
        kill_all((*descendants(process.pid), process.pid) if process.poll() is None else ())
        process.wait()
        process.stdout.close()
        replace(scene, name=name).ground.destroy()


async def order(scene: Scene, model_url: str) -> None:
    """Give the deck its run."""
    parts = await make(load_settings(scene.environment(model_url)))
    try:
        await Deck(parts).create(Order(plan_path=scene.plan, repository=scene.repository, user="bench"))
    finally:
        await parts.close()


def until_all_work(database: "psycopg.Connection[Any]", agents: int) -> None:
    """Wait until every agent is at work."""
    end = time.monotonic() + _PATIENCE
    while sum(seq >= _STEPS for _, seq in database.execute(_MOVED)) < agents:
        if time.monotonic() > end:
            raise SystemExit(f"not all agents came to work: {database.execute(_MOVED).fetchall()}")
        time.sleep(_LOOK)


def watch(database: "psycopg.Connection[Any]", streams: list[str], dead: int, died: float) -> Taken:
    """When each of these attempts of the process `dead` came into other hands, had its first new record, and began its
    first new step."""
    held: dict[str, float] = {}
    recorded: dict[str, float] = {}
    stepped: dict[str, float] = {}
    end = time.monotonic() + _PATIENCE
    while len(stepped) < len(streams):
        if time.monotonic() > end:
            raise SystemExit(f"{set(streams) - set(stepped)} did not go on")
        for stream, pid in database.execute(_HANDS):
            if pid != dead and stream in streams:
                held.setdefault(stream, time.time() - died)
        for stream, at, body in database.execute(_NEW, (died, streams)):
            recorded.setdefault(stream, at - died)
            if json.loads(body)["kind"] in ("model.asked", "tool.intended"):
                stepped.setdefault(stream, at - died)
        time.sleep(_LOOK)
    return Taken(held, recorded, stepped)


def takeover(server: Server, agents: int, seconds: float) -> Taken:
    """Kill one of two workers that carry so many agents. seconds: `[workers] takeover`."""
    name = server.create()
    url = server.url(name)
    with ExitStack() as stack:
        stack.callback(server.drop, name)
        folder = stack.enter_context(open_folder())
        scene = shared(make_scene(folder, agents, "bubblewrap"), url, seconds)
        stack.callback(scene.ground.destroy)
        model = stack.enter_context(model_server(scene))
        asyncio.run(order(scene, model.url))
        doomed = stack.enter_context(worker(scene, "one", model.url, agents // 2))
        stack.enter_context(worker(scene, "two", model.url, agents * 2))
        database = stack.enter_context(psycopg.connect(url, autocommit=True))
        until_all_work(database, agents)
        streams = [stream for stream, pid in database.execute(_HANDS) if pid == doomed.pid]
        if not streams:
            raise SystemExit("the worker that is to die has nothing in its hands")
        os.kill(doomed.pid, signal.SIGKILL)
        return watch(database, streams, doomed.pid, time.time())
