"""Carries a chaos campaign out: the fleet, its runs and its faults, until everything has ended.

Rules
- Runs are ordered by a deck of its own, which reaches everything straight and performs no job.
- No run is begun and no fault injected after `Options.seconds`; what is unfinished then gets `Options.grace` to end,
  and after that the workers `CLEARING` to clear away what was left.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from quarterdeck.assembly import Deck
from quarterdeck.assembly.parts import Parts, make
from quarterdeck.delivery.order import Order
from quarterdeck.kernel.failures import GitFailed, StoreUnavailable
from quarterdeck.models.scripted.scenario import load
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.settings import load_settings
from quarterdeck.testing.chaos.caps import Caps, Peaks
from quarterdeck.testing.chaos.faults import Faults, Kind, SmallDisk, Told
from quarterdeck.testing.chaos.fleet import Member, Servers
from quarterdeck.testing.chaos.hosts import Here, Host, Namespace
from quarterdeck.testing.chaos.leftovers import of_machine, of_mirrors
from quarterdeck.testing.chaos.remote import ADDRESS, Remote, configuration
from quarterdeck.testing.chaos.scene import Scene, Size, make_scene
from quarterdeck.testing.chaos.stepped import skewing
from quarterdeck.testing.chaos.verdict import Verdict
from quarterdeck.testing.postgres_server import Server

MEMBERS: Final = ("one", "two", "three", "four")
CAPS: Final = Caps(agents=12, one_agent=9, repository=8, starts=40, calls=60, run_usd=3.0)
SIZES: Final = (
    Size(commands=0, natives=1),
    Size(commands=1, seconds=0.1),
    Size(commands=1, chained=1, natives=1, seconds=0.1),
)
"""Of the runs in each of the repositories: small, so that many are carried out on two cores."""
_WHERE: Final = (0, 1, 0, 1, 0, 1, 0, 1, 0, 2)
"""In which repository runs are carried out, in turn."""
SHORT_USD: Final = 0.14
"""Of a run whose money cannot be enough: one call of its agent fits in, and hardly a second one."""
CLEARING: Final = 125.0
"""Seconds; workers look once a minute for what others left, and a note that could not be written is tried again after
two minutes at the latest."""
_CAPACITY: Final = 8
_LOOK: Final = 0.25
_EVERY_SHORT: Final = 12
"""One run of so many has too little money."""

T = TypeVar("T")


class Database:
    """The campaign's database."""

    def __init__(self, server: Server, rng: random.Random) -> None:
        self._server = server
        self._rng = rng
        self.name = server.create()

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the server."""
        return "127.0.0.1", self._server.port

    @property
    def url(self) -> str:
        """Its URL, for who is beside it."""
        return f"postgresql://postgres@127.0.0.1:{self._server.port}/{self.name}"

    async def restart(self) -> bool:
        """End the server, in order or as a crash does, and wait until another one answers."""
        how, before = self._rng.choice((signal.SIGINT, signal.SIGKILL)), self._server.pid
        await asyncio.to_thread(self._server.restart, how)
        return self._server.pid != before


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
    scene: Scene
    short: bool
    """Its money cannot be enough."""
    began: float
    ended: float | None = None
    verdict: Verdict | None = None

    @property
    def good(self) -> bool:
        return self.verdict is not None and not self.verdict.violations


@dataclass(slots=True)
class Campaign:
    """What was done and what came of it."""

    apart: bool
    """Whether each worker had a network of its own."""
    skewed: bool = False
    """Whether clocks were stepped for whole processes."""
    told: Told = field(default_factory=Told)
    stories: list[Story] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    """When calls came to the model's server, seconds."""
    peaks: Peaks = field(default_factory=Peaks)
    starts_a_minute: int = 0
    calls_a_minute: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    working: float = 0.0
    """Seconds until the last run had ended."""
    starts: int = 0
    """Processes of workers."""
    loads: list[float] = field(default_factory=list)
    """The machine's load average over a minute: before, and from time to time."""

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
        await asyncio.sleep(_LOOK)
    return await work()


# --- the parts of a campaign ------------------------------------------------------------------------------------------


async def _order_runs(deck: Deck, scenes: list[Scene], campaign: Campaign, options: Options, until: float) -> None:
    """Keep so many runs going, and begin none after `until`."""
    loop = asyncio.get_running_loop()
    while len(campaign.stories) < options.runs and loop.time() < until:
        going = [story for story in campaign.stories if story.ended is None]
        if len(going) >= options.width:
            await _note_ends(deck, campaign)
            await asyncio.sleep(_LOOK)
            continue
        number, began = len(campaign.stories), loop.time()
        scene = scenes[_WHERE[number % len(_WHERE)]]
        short = scene.size.natives > 0 and number % _EVERY_SHORT == 0
        order = Order(
            plan_path=scene.plan,
            repository=scene.repository,
            user="chaos",
            budget_usd=SHORT_USD if short else None,
        )
        run = await patiently(lambda order=order: deck.create(order))  # type: ignore[misc]  # bound to this one
        campaign.stories.append(Story(run, scene, short, began))


async def _note_ends(deck: Deck, campaign: Campaign) -> bool:
    """Whether every run has ended."""
    now = asyncio.get_running_loop().time()
    ended = {view.run for view in await patiently(deck.views.runs) if view.status.finished}
    for story in campaign.stories:
        if story.ended is None and story.run in ended:
            story.ended = now
    return all(story.ended is not None for story in campaign.stories)


async def _strike(faults: Faults, options: Options, rng: random.Random, until: float) -> None:
    """Inject what is wanted, evenly over the time there is."""
    loop = asyncio.get_running_loop()
    while (now := loop.time()) < until:
        told = faults.told
        rare = [kind for kind in faults.kinds if told.injected[kind] < options.each]
        if not rare and told.total >= options.faults:
            return
        faults.begin(rng.choice(rare or [kind for kind in faults.kinds if kind is not Kind.RESTART]))
        left = max(1, options.faults - told.total)
        await asyncio.sleep(min(3.0, 0.9 * (until - now) / left) * rng.uniform(0.4, 1.2))


async def _watch_load(campaign: Campaign) -> None:
    while True:
        campaign.loads.append(os.getloadavg()[0])
        await asyncio.sleep(10.0)


async def _cleared(parts: Parts, members: list[Member]) -> list[str]:
    """Wait until nothing is owed in the background, and no sandbox and no workspace is left on any host; what still is
    when the time is over."""
    until = asyncio.get_running_loop().time() + CLEARING
    while True:
        left = [
            f"{member.scene.name}: {text}"
            for member in members
            for text in await asyncio.to_thread(lambda member=member: [*of_machine(member.scene)])  # type: ignore[misc]  # bound to this one
        ]
        owed = await parts.store.read("jobs_next_due")
        quiet = not await parts.store.read("queues_waiting") and (not owed or owed[0]["seconds"] is None)
        if (quiet and not left) or asyncio.get_running_loop().time() > until:
            return left
        await asyncio.sleep(1.0)


@asynccontextmanager
async def _fleet(scene: Scene, servers: Servers, *, apart: bool) -> AsyncIterator[tuple[list[Member], list[Member]]]:
    """The workers, and those of them whose disk is small."""
    members: list[Member] = []
    hosts: list[Host] = []
    disks: list[SmallDisk] = []
    skew = skewing(scene.folder)
    try:
        for number, name in enumerate(MEMBERS, start=1):
            hosts.append(Namespace(number) if apart else Here())
            home = scene.folder / name
            if not disks and (disk := SmallDisk(home, scene.ground_of(name).root)).mount():
                disks.append(disk)
            members.append(Member(scene.at(name), hosts[-1], servers, _CAPACITY, skew))
        for member in members:
            await member.start()
        yield members, members[: len(disks)]
    finally:
        for member in members:
            await member.end()
            await member.ways.close()
        for host in hosts:
            host.close()
        for disk in disks:
            disk.unmount()
        for member in members:
            member.scene.ground.destroy()


async def _carry_out(
    parts: Parts,
    scenes: list[Scene],
    database: Database,
    servers: Servers,
    campaign: Campaign,
    options: Options,
    rng: random.Random,
) -> None:
    """Runs and faults beside each other; afterwards the runs alone, until they have ended or the grace is over."""
    loop, deck = asyncio.get_running_loop(), Deck(parts)
    async with _fleet(scenes[0], servers, apart=campaign.apart) as (members, small):
        faults = Faults(members, small, database.restart, rng)
        campaign.told, began = faults.told, loop.time()
        until = began + options.seconds
        watching = asyncio.create_task(_watch_load(campaign))
        async with asyncio.TaskGroup() as both:
            both.create_task(_order_runs(deck, scenes, campaign, options, until))
            both.create_task(_strike(faults, options, rng, until))
        await faults.settle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until + options.grace):
                while not await _note_ends(deck, campaign):
                    await asyncio.sleep(_LOOK)
        campaign.working = loop.time() - began
        watching.cancel()
        campaign.violations += await _cleared(parts, members)
        campaign.starts = sum(member.starts for member in members)
        for member in members:
            await member.end()
        campaign.violations += [
            f"{member.scene.name}: {text}" for member in members for text in of_mirrors(member.scene)
        ]


Judge = Callable[[Parts, Campaign, str], Awaitable[None]]


async def campaign_of(folder: Path, server: Server, options: Options, judge: Judge, *, apart: bool) -> Campaign:
    """Carry it out in `folder`, and have it judged (`judge`: with the deck's parts and the database's URL)."""
    rng, began = random.Random(options.seed), time.monotonic()
    database = Database(server, random.Random(options.seed))
    remote = Remote(folder)
    scenes = [
        make_scene(folder / name, size, database.url, CAPS, f"{ADDRESS}/{name}/remote.git")
        for name, size in zip("abc", SIZES, strict=True)
    ]
    campaign = Campaign(apart, skewed=skewing(folder) is not None)
    campaign.loads.append(os.getloadavg()[0])
    straight = folder / "gitconfig"
    straight.write_text(configuration("127.0.0.1", remote.port))
    try:
        async with ScriptedServer(load(scenes[0].scenario)) as model:
            place = ("127.0.0.1", int(model.url.rpartition(":")[2]))
            servers = Servers(lambda: database.place, database.name, lambda: ("127.0.0.1", remote.port), lambda: place)
            environment = scenes[0].environment(model.url) | {"GIT_CONFIG_GLOBAL": str(straight)}
            parts = await make(load_settings(environment))
            try:
                await _carry_out(parts, scenes, database, servers, campaign, options, rng)
                campaign.asked = [request.at for request in model.requests]
                await judge(parts, campaign, database.url)
            finally:
                await parts.close()
    finally:
        remote.close()
        for scene in scenes:
            scene.ground.destroy()
    campaign.seconds = time.monotonic() - began
    return campaign
