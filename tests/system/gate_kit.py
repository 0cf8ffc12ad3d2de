"""A merge gate over a real git repository, a real journal and engine, and real check processes."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import store_kit

from quarterdeck.assembly.engines import make_engine
from quarterdeck.delivery import jobs
from quarterdeck.delivery.gate.advance import Gate
from quarterdeck.engine.port import Engine, Job
from quarterdeck.govern.approvals import Approvals
from quarterdeck.journal.log import Log
from quarterdeck.journal.views import Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Change
from quarterdeck.settings import Settings
from quarterdeck.store.port import Store
from quarterdeck.workplace.environment import Announce
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Sandbox, Spec

BRANCH = "work"
RUN = "r-00000000001"
ENVIRONMENT = {
    "PATH": os.defpath,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "maintenance.auto",  # else each commit starts a process that finds nothing to do
    "GIT_CONFIG_VALUE_0": "false",
}


NO_FILES: Mapping[str, str] = {}


class Killed(BaseException):
    """The process was killed at a probe point."""


def git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(where), *arguments], env=ENVIRONMENT, capture_output=True, check=True)
    return done.stdout.decode().strip()


def write(where: Path, files: Mapping[str, str | None]) -> None:
    for name, text in files.items():
        if text is None:
            (where / name).unlink()
        else:
            (where / name).write_text(text)


class Leaping(SystemClock):
    """A clock that a test puts forward."""

    ahead = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead


class Shop:
    """Checkouts for checks in the provider that isolates nothing, with a door that a test can watch."""

    def __init__(self, ground: Ground) -> None:
        self.provider = Plain(ground)
        self.mirrors = ground.mirrors
        self.door: Callable[[str], object] = lambda _commit: None
        self.together: asyncio.Barrier | None = None
        self.endings: list[asyncio.Future[None]] = []
        self.way: Callable[[], object] = lambda: None
        self.open: dict[str, Mirror] = {}

    async def mirror(self, repository: str) -> Mirror:
        self.way()
        if repository not in self.open:
            self.open[repository] = await Mirror.open(self.mirrors, Path(repository))
        return self.open[repository]

    @asynccontextmanager
    async def checking(
        self, run_config: RunConfig, mirror: Mirror, sandbox_id: str, commit: str, announce: Announce | None = None
    ) -> AsyncIterator[Sandbox]:
        self.door(commit)
        if announce is not None:
            await announce(("build it",))
        if self.together is not None:
            await self.together.wait()
        sandbox = await self.provider.create(Spec(sandbox_id, objects=mirror.objects))
        try:
            await sandbox.import_(commit)
            yield sandbox
        finally:
            # A killed process does not go on removing a workspace while its heir reaps it; a cancelled task would.
            ending = asyncio.ensure_future(self.end(sandbox))
            self.endings.append(ending)
            await asyncio.shield(ending)

    async def end(self, sandbox: Sandbox) -> None:
        await sandbox.close()
        await self.provider.discard(sandbox.id)


@dataclass
class Deck:
    """One repository, one target branch, and everything that a gate needs; processes come and go."""

    root: Path
    ground: Ground
    shop: Shop
    base: str = ""
    told: list[str] = field(default_factory=list)
    """Runs that were told to advance."""
    wished: list[str] = field(default_factory=list)
    """Blobs of what runs were told was taken back."""
    store: Store | None = None
    engine: Engine | None = None
    clock: Leaping = field(default_factory=Leaping)

    @property
    def repository(self) -> Path:
        return self.root / "repository"

    @property
    def scratch(self) -> Path:
        """A directory that checks can write."""
        return self.ground.root / "scratch"

    @property
    def target(self) -> str:
        return ids.target_id(str(self.repository), BRANCH)

    # --- the repository

    def begin(self, more: Mapping[str, str]) -> None:
        self.repository.mkdir()
        git(self.repository, "init", "-q", "-b", "main")
        files = {"a.txt": "one\ntwo\nthree\n", "b.txt": "b\n", "check.sh": "test ! -e BAD\n"}
        write(self.repository, {**files, **more})
        git(self.repository, "add", ".")
        git(self.repository, "commit", "-qm", "Start")
        self.base = git(self.repository, "rev-parse", "HEAD")
        git(self.root, "clone", "-q", "--shared", str(self.repository), "author")

    def author(self, files: Mapping[str, str | None], onto: str, message: str = "work") -> str:
        where = self.root / "author"
        if onto.startswith("origin/"):  # commits of the repository are there already: its objects are shared
            git(where, "fetch", "-q", "--all")
        git(where, "checkout", "-q", "--detach", onto)
        write(where, files)
        git(where, "add", "-A")
        git(where, "commit", "-qm", message)
        return git(where, "rev-parse", "HEAD")

    def push(self, files: Mapping[str, str | None], message: str = "from somebody else") -> str:
        """Somebody else moves the target."""
        commit = self.author(files, f"origin/{BRANCH}" if self.tip else self.base, message)
        git(self.root / "author", "push", "-q", "origin", f"{commit}:refs/heads/{BRANCH}")
        return commit

    @property
    def tip(self) -> str | None:
        found = git(self.repository, "for-each-ref", "--format=%(objectname)", f"refs/heads/{BRANCH}")
        return found or None

    def subjects(self) -> list[str]:
        return git(self.repository, "log", "--reverse", "--format=%s", f"{self.base}..{BRANCH}").splitlines()

    # --- a process

    async def process(self) -> tuple[Log, Engine, Gate]:
        await self.end()
        await asyncio.gather(*self.shop.endings)
        await self.shop.provider.reap(frozenset())
        self.shop.open.clear()
        where, clock = self.root / "deck.db", self.clock
        self.store = await store_kit.open_at(where)
        journal = Log(self.store, clock)
        settings = Settings(home=self.root, user="ada", path=os.defpath, database_url=store_kit.url(where))
        self.engine = await make_engine(settings, self.store, ids.new_owner_id(), clock, None)
        return journal, self.engine, self.gate(journal, self.engine)

    def gate(self, journal: Log, engine: Engine) -> Gate:
        assert self.store is not None
        approvals = Approvals(journal, Views(self.store), self.clock, self.store.changed)
        return Gate(journal, engine, self.shop, approvals, self.clock)

    async def end(self) -> None:
        if self.engine is not None:
            await self.engine.close()
        if self.store is not None:
            await self.store.close()
        self.engine = self.store = None

    async def serve(self, engine: Engine, gate: Gate) -> None:
        async def told(job: Job) -> None:
            self.told.append(job.run)

        async def wished(job: Job) -> None:
            assert job.payload["action"] == "revert"
            self.wished.append(str(job.payload["detail_blob"]))

        handlers = {
            jobs.GATE_SUBMIT: gate.submit,
            jobs.GATE_ADVANCE: gate.advance,
            jobs.GATE_CHECK: gate.check,
            jobs.GATE_WITHDRAW: gate.withdraw,
            jobs.ADVANCE: told,
            jobs.CONTROL: wished,
        }
        async with asyncio.timeout(60):
            await engine.serve(handlers, until_idle=True)
        assert await engine.failed() == []

    async def outlive(self, point: str, engine: Engine, gate: Gate, times: int) -> Log:
        """So many processes, one after the other, are killed when they first come to that probe point; one more is not.
        Its journal."""
        deaths, armed = 0, True

        def kill(at: str) -> None:
            nonlocal armed
            if at == point and armed:
                armed = False
                raise Killed(at)

        probes.install(kill)
        for _ in range(times):
            armed = True
            try:
                await self.serve(engine, gate)
            except Killed:
                deaths += 1
            journal, engine, gate = await self.process()
        armed = False
        await self.serve(engine, gate)
        assert deaths >= 1
        return journal

    async def queue(
        self,
        journal: Log,
        engine: Engine,
        task: str,
        files: Mapping[str, str | None],
        *,
        onto: str = "",
        gate: tuple[str, ...] = ("sh ./check.sh",),
        run: str = RUN,
        parallel: int = 4,
        timeout: str = "20s",
        verify: tuple[str, ...] = (),
        intent: str = "",
        merge: Mapping[str, object] | None = None,
    ) -> None:
        """An attempt's change goes to the gate."""
        onto = onto or self.base
        commit = self.author(files, onto)
        mirror = await self.shop.mirror(str(self.repository))
        await mirror.fetch(self.base)
        author = str(self.root / "author")
        git(mirror.path, "fetch", "-q", author, f"+{commit}:refs/quarterdeck/change/{run}/{task}")
        attempt = ids.attempt_id(run, task, 1)
        checks = {"gate": gate, "parallel": parallel, "timeout": timeout}
        config = RunConfig.model_validate({"deck": {"checks": checks, "merge": merge or {}}})
        event = e.ChangeQueued(
            change=Change(
                run=run, task=task, attempt=attempt, base=onto, commit=commit, tree=await mirror.tree(commit)
            ),
            title=f"Do {task}",
            config_blob=await journal.put(config.model_dump_json().encode()),
            repository=str(self.repository),
            branch=BRANCH,
            base=self.base,
            agent="implementer",
            verify_blob=await journal.put(json.dumps(verify).encode()),
            intent_blob=await journal.put(intent.encode()),
        )
        job = jobs.gate_submit(self.target, attempt, await journal.put(e.encode(event)))
        await journal.commit(also=lambda tx: engine.defer(tx, job))

    async def outcome(self, journal: Log, task: str, run: str = RUN) -> e.NodeFinished:
        records = await journal.read(ids.attempt_stream(ids.attempt_id(run, task, 1)))
        news = [record.event for record in records if isinstance(record.event, e.NodeFinished)]
        assert len(news) == 1, "the run is told exactly once"
        return news[0]

    async def events(self, journal: Log, kind: type[e.EventBase]) -> list[e.EventBase]:
        records = await journal.read(ids.gate_stream(self.target))
        return [record.event for record in records if isinstance(record.event, kind)]

    async def assert_sound(self, journal: Log) -> None:
        """Every commit that landed has a tree that passed, one parent, its trailers and its note; fsck is clean."""
        passed = {
            event.tree
            for event in await self.events(journal, e.GateCheckFinished)
            if isinstance(event, e.GateCheckFinished) and event.passed
        }
        landed = await self.events(journal, e.ChangeLanded)
        ends = {event.new for event in landed if isinstance(event, e.ChangeLanded)}
        # Within a step the target never stood.
        within = {
            commit
            for step in await self.events(journal, e.LandingIntended)
            if isinstance(step, e.LandingIntended) and step.new in ends
            for commit in step.commits[:-1]
        }
        assert len({event.attempt for event in landed if isinstance(event, e.ChangeLanded)}) == len(landed)
        for event in landed:
            assert isinstance(event, e.ChangeLanded)
            assert event.new in within or git(self.repository, "rev-parse", f"{event.new}^{{tree}}") in passed
            assert len(git(self.repository, "show", "-s", "--format=%P", event.new).split()) == 1
            assert event.attempt in git(self.repository, "notes", "--ref=quarterdeck", "show", event.new)
        subjects = self.subjects()
        assert len(subjects) == len(set(subjects)), "a change was merged twice"
        git(self.repository, "fsck", "--strict")
        assert git(self.repository, "status", "--porcelain") == ""
        assert git(self.repository, "rev-parse", "HEAD") == self.base
        assert (await journal.verify()).faults == ()
        assert not list(self.ground.workspaces.iterdir()), "a check left its workspace behind"


def grounds(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path / "home").prepare()
    (ground.root / "scratch").mkdir()
    (ground.root / "scratch").chmod(0o777)
    yield ground
    ground.destroy()


async def decks(tmp_path: Path, ground: Ground, files: Mapping[str, str] = NO_FILES) -> AsyncIterator[Deck]:
    """`files`: what the repository holds besides."""
    made = Deck(tmp_path, ground, Shop(ground))
    made.begin(files)
    yield made
    probes.install(None)
    await made.end()
