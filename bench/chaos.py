"""Chaos: workers on PostgreSQL that share no file system, runs of scripted agents, and faults of every kind.

Rules
- Every run is held against the tree, the branch, the journal and the money that an undisturbed run leaves. A fault
  counts as survived where every run that was unfinished when it began is without a violation.
- It is bounded: no run is begun and no fault injected after `--seconds`; what is unfinished then gets `--grace` to end.
- What was injected is counted, never assumed: fewer than wanted is a row that is missed.

usage: python -m bench.chaos [--seconds 420] [--faults 200] [--each 15] [--runs 100] [--seed 1]
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError
from typing import TypeVar

from bench.__main__ import ROOT, machine
from bench.figures import Figure, Target, show
from quarterdeck.assembly import Deck
from quarterdeck.assembly.parts import Parts, make
from quarterdeck.delivery.order import Order
from quarterdeck.kernel.entities import to_nusd
from quarterdeck.kernel.failures import GitFailed, StoreUnavailable
from quarterdeck.settings import load_settings
from quarterdeck.testing.chaos.faults import Faults, Kind, Told, small_disk, unmount
from quarterdeck.testing.chaos.fleet import Member
from quarterdeck.testing.chaos.processes import Line, model_server
from quarterdeck.testing.chaos.proxy import Proxy
from quarterdeck.testing.chaos.scene import Scene, Size, make_scene
from quarterdeck.testing.chaos.verdict import Redone, Streams, Verdict, judged, read_all
from quarterdeck.testing.postgres_server import Server, start

RESULT = ROOT / "build" / "chaos.json"
_MEMBERS = ("one", "two", "three", "four")
_SIZE = Size(commands=1, chained=1, natives=1, seconds=0.2, parallel=4)
_CAPACITY = 8
_BUDGET = 50.0

T = TypeVar("T")


class Database:
    """The campaign's database, reached straight or through a way that can be cut."""

    def __init__(self, server: Server, rng: random.Random) -> None:
        self._server = server
        self._rng = rng
        self._name = server.create()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server."""
        return "127.0.0.1", self._server.port

    def url(self, port: int | None = None) -> str:
        """Its URL; `port`: of a way to it, None = straight."""
        return f"postgresql://postgres@127.0.0.1:{port or self._server.port}/{self._name}"

    async def restart(self) -> None:
        """End the server, in order or as a crash does, and wait until it answers again."""
        how = self._rng.choice((signal.SIGINT, signal.SIGKILL))
        await asyncio.to_thread(self._server.restart, how)


@dataclass(frozen=True, slots=True)
class Options:
    """How large a campaign is. Times in seconds."""

    seconds: float
    grace: float
    faults: int
    each: int
    runs: int
    width: int
    seed: int


@dataclass(slots=True)
class Story:
    """One run of the campaign, by the loop's clock."""

    run: str
    began: float
    ended: float | None = None
    verdict: Verdict | None = None

    @property
    def good(self) -> bool:
        return self.verdict is not None and not self.verdict.violations


@dataclass(slots=True)
class Campaign:
    """What was done and what came of it."""

    told: Told = field(default_factory=Told)
    stories: list[Story] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    starts: int = 0
    """Processes of workers."""

    def survived(self, kind: Kind) -> int:
        """Faults of that kind that met no run which is not as it should be."""
        bad = [story for story in self.stories if not story.good]
        return sum(
            not any(story.began <= at and (story.ended is None or at <= story.ended) for story in bad)
            for at, each in self.told.at
            if each is kind
        )


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives, asked again while the database is away."""
    for _ in range(240):
        with contextlib.suppress(StoreUnavailable, GitFailed, OSError):
            return await work()
        await asyncio.sleep(0.25)
    return await work()


# --- the parts of a campaign ------------------------------------------------------------------------------------------


async def order_runs(deck: Deck, scene: Scene, campaign: Campaign, options: Options, until: float) -> None:
    """Keep so many runs going, and begin none after `until`."""
    loop = asyncio.get_running_loop()
    order = Order(plan_path=scene.plan, repository=scene.repository, user="chaos")
    while len(campaign.stories) < options.runs and loop.time() < until:
        going = [story for story in campaign.stories if story.ended is None]
        if len(going) < options.width:
            began = loop.time()
            run = await patiently(lambda: deck.create(order))
            campaign.stories.append(Story(run, began))
        else:
            await note_ends(deck, campaign)
            await asyncio.sleep(0.25)


async def note_ends(deck: Deck, campaign: Campaign) -> bool:
    """Whether every run has ended."""
    now = asyncio.get_running_loop().time()
    ended = {view.run for view in await patiently(deck.views.runs) if view.status.finished}
    for story in campaign.stories:
        if story.ended is None and story.run in ended:
            story.ended = now
    return all(story.ended is not None for story in campaign.stories)


async def strike(faults: Faults, options: Options, rng: random.Random, until: float) -> None:
    """Inject what is wanted, evenly over the time there is."""
    loop = asyncio.get_running_loop()
    while (now := loop.time()) < until:
        told = faults.told
        rare = [kind for kind in faults.kinds if told.injected[kind] < options.each]
        if not rare and told.total >= options.faults:
            return
        faults.begin(rng.choice(rare or [kind for kind in faults.kinds if kind is not Kind.RESTART]))
        left = max(1, options.faults - told.total)
        await asyncio.sleep(min(3.0, (until - now) / left) * rng.uniform(0.4, 1.2))


async def judge_all(parts: Parts, scene: Scene, campaign: Campaign) -> None:
    """Hold every run, and what is left behind, against what there should be."""
    streams, audit = await read_all(parts.store)
    deck = Deck(parts)
    for story in campaign.stories:
        result: Line | None = None
        if story.ended is not None:
            result = json.loads((await deck.result(story.run)).model_dump_json())
        try:
            story.verdict = judged(scene, story.run, result, streams, delays=True)
        except (KeyError, CalledProcessError) as error:
            story.verdict = Verdict((f"it cannot be judged: {error!r}",), 0, Redone(), 0)
        cost = (await deck.views.run(story.run)).cost_nusd
        if cost > to_nusd(_BUDGET):
            campaign.violations.append(f"{story.run} cost {cost} nano-USD, more than its cap")
        campaign.violations += [f"{story.run}: {text}" for text in story.verdict.violations]
        if not story.good:
            _write_down(scene, story.run, streams)
    if audit.faults:
        campaign.violations.append(f"the journal is not intact: {audit}")
    for row in await parts.store.read("left_reservations"):
        campaign.violations.append(f"still reserved: {dict(row)}")
    if left := await parts.engine.unfinished():
        campaign.violations.append(f"{left} jobs are left")
    for job, trace in await parts.engine.failed():
        campaign.violations.append(f"a job failed: {job.kind} {job.key}: {trace[-1500:]}")


def _write_down(scene: Scene, run: str, streams: Streams) -> None:
    """What the journal has of a run, for whoever looks at it afterwards (`--keep`)."""
    theirs = [record for name, found in streams.items() if run in name or name.startswith("gate/") for record in found]
    lines = [f"{r.at:.3f} {r.stream} {r.seq} {r.epoch} {r.event.model_dump_json()}" for r in theirs]
    (scene.folder / f"{run}.journal").write_text("\n".join(sorted(lines)) + "\n")


@asynccontextmanager
async def fleet(scene: Scene, server: Database, model_url: str) -> AsyncIterator[tuple[list[Member], list[Member]]]:
    """The workers, and those of them whose disk is small."""
    members: list[Member] = []
    small: list[Member] = []
    try:
        for name in _MEMBERS:
            proxy = Proxy(lambda: server.address)
            await proxy.start()
            member = Member(scene.at(name), proxy, server.url, model_url, _CAPACITY)
            if not small and small_disk(member.scene.ground.root):
                small.append(member)
            members.append(member)
        for member in members:
            member.start()
        yield members, small
    finally:
        for member in members:
            await member.end()
            await member.proxy.close()
        for member in small:
            unmount(member.scene.ground.root)
        for member in members:
            member.scene.ground.destroy()


async def _carry_out(
    parts: Parts,
    scene: Scene,
    server: Database,
    model_url: str,
    campaign: Campaign,
    options: Options,
    rng: random.Random,
) -> None:
    """Runs and faults beside each other; afterwards the runs alone, until they have ended or the grace is over."""
    loop, deck = asyncio.get_running_loop(), Deck(parts)
    async with fleet(scene, server, model_url) as (members, small):
        faults = Faults(members, small, server.restart, rng)
        campaign.told = faults.told
        until = loop.time() + options.seconds
        async with asyncio.TaskGroup() as both:
            both.create_task(order_runs(deck, scene, campaign, options, until))
            both.create_task(strike(faults, options, rng, until))
        await faults.settle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.grace):
                while not await note_ends(deck, campaign):
                    await asyncio.sleep(0.25)
        campaign.starts = sum(member.starts for member in members)


async def campaign_of(folder: Path, server: Database, options: Options) -> Campaign:
    """Carry it out."""
    rng, began = random.Random(options.seed), time.monotonic()
    scene = make_scene(folder, _SIZE, server.url())
    campaign = Campaign()
    try:
        with model_server(scene) as model:
            parts = await make(load_settings(scene.environment(model.url)))
            try:
                await _carry_out(parts, scene, server, model.url, campaign, options, rng)
                await judge_all(parts, scene, campaign)
            finally:
                await parts.close()
    finally:
        scene.ground.destroy()
    campaign.seconds = time.monotonic() - began
    return campaign


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


# --- telling ----------------------------------------------------------------------------------------------------------


def figures(campaign: Campaign, options: Options) -> list[Figure]:
    """What came of it, as a benchmark's rows; each is wanted to be 0."""
    none, told, good = Target("ours", 0), campaign.told, sum(story.good for story in campaign.stories)
    attempts = sum(story.verdict.attempts for story in campaign.stories if story.verdict is not None)
    redone = sum(story.verdict.redone.total for story in campaign.stories if story.verdict is not None)
    rows = [
        Figure(
            f"chaos: {kind}, not survived",
            "faults",
            told.injected[kind] - campaign.survived(kind),
            target=none,
            note=f"{told.injected[kind]} injected, {campaign.survived(kind)} survived",
        )
        for kind in Kind
    ]
    few = sum(max(0, options.each - told.injected[kind]) for kind in Kind)
    short = f"{told.total} injected of {options.faults} wanted, {options.each} of each kind"
    rows.append(
        Figure("chaos: faults missing", "faults", max(few, options.faults - told.total), target=none, note=short)
    )
    work = f"{good} of {len(campaign.stories)} runs, {attempts} attempts, {redone} steps cut off and done again, "
    work += f"{campaign.starts} starts of {len(_MEMBERS)} workers, {campaign.seconds:.0f} s"
    rows.append(
        Figure("chaos: runs not as they should be", "runs", len(campaign.stories) - good, target=none, note=work)
    )
    wrong = "nothing lost, merged twice or done again; caps kept; chains verified"
    if campaign.violations:
        wrong = campaign.violations[0][:300]
    rows.append(Figure("chaos: violations", "violations", len(campaign.violations), target=none, note=wrong))
    return rows


def main(argv: list[str] | None = None) -> int:
    """Run the campaign; 1 where anything was violated."""
    parser = argparse.ArgumentParser(prog="chaos", description="Workers on PostgreSQL, and everything that goes wrong.")
    parser.add_argument("--seconds", type=float, default=420.0, help="in which runs are begun and faults injected")
    parser.add_argument("--grace", type=float, default=120.0, help="for what is unfinished then")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--each", type=int, default=15, help="faults of each kind at least")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--width", type=int, default=8, help="runs at the same time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="work here and leave everything, to look at it")
    given = vars(parser.parse_args(argv))
    keep = given.pop("keep")
    options = Options(**given)
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        server = start(port=free_port(), durable=True)
        try:
            campaign = asyncio.run(campaign_of(folder, Database(server, random.Random(options.seed)), options))
        finally:
            server.stop()
    rows = figures(campaign, options)
    show(rows)
    RESULT.parent.mkdir(exist_ok=True)
    kept = [{**row.as_json(), "bench": "chaos", "machine": machine(), "seed": options.seed} for row in rows]
    RESULT.write_text(json.dumps(kept, indent=1) + "\n")
    for violation in campaign.violations:
        sys.stderr.write(f"VIOLATION {violation}\n")
    return 1 if campaign.violations or not all(story.good for story in campaign.stories) else 0


if __name__ == "__main__":
    sys.exit(main())
