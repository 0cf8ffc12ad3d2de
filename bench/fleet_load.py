"""A deck on PostgreSQL under a known load: agents that wait for a slow scripted model, on workers of their own.

Rules
- The server waits for the disk at each commit. The model is a process of its own, streams its answers and takes the
  same time for each; it shares the machine's cores with everything else.
- Agents are let in evenly over one answer's time, so that they do not all speak at the same moment.
- What was done is what the journal has on record; whoever has ended, failed or was cut off makes the measurement void.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.bench_engines import used
from bench.fleet_worker import BASE, FILES, job_of
from quarterdeck.engine.procrastinate import ProcrastinateEngine, prepare
from quarterdeck.engine.seats import Seat
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.chain import run_purse
from quarterdeck.journal.log import Log
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import Price
from quarterdeck.models.scripted.scenario import Latency, Rule, Scenario, Turn, act
from quarterdeck.settings import child_environment
from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Store, Tx
from quarterdeck.testing.postgres_server import Server

DECK: Final = """\
[limits]
turns = 10000
wall = "1d"
tokens = 1000000000
spawn_per_minute = 100000
agents_at_once = "none"
[budget]
run = 100000.0
user_day = 1000000.0
deck_day = 1000000.0
[tiers]
hands = ["anthropic:scripted"]
[prices]
"anthropic:scripted" = { input = 3.0, output = 15.0 }
[models."anthropic:scripted"]
context = 200000
[workers]
takeover = "30s"
"""
PER_RUN: Final = 50
"""Agents of one run."""
TOKENS: Final = 80
"""Of an answer: what it says and the call of a tool."""
FIRST: Final = 0.2
"""The share of an answer's time before its first byte."""
_CHARACTERS: Final = 4
_TURNS: Final = 100
_TICK: Final = 0.2
_PATIENCE: Final = 120.0


def scenario(latency: float) -> Scenario:
    """A model that reads one file after the other; each answer takes `latency` seconds in all."""
    turns = []
    for number in range(_TURNS):
        path = f"file{number % FILES}.txt"
        text = f"I look into {path}. ".ljust(TOKENS * _CHARACTERS - len(json.dumps({"path": path})), "x")
        turns.append(Turn(text=text, actions=(act("read", path=path),)))
    pace = Latency(first_byte=latency * FIRST, per_token=latency * (1 - FIRST) / TOKENS)
    price = {"scripted": Price(input=3.0, output=15.0)}
    return Scenario(rules=(Rule(turns=tuple(turns)),), latency=pace, chars_per_token=_CHARACTERS, prices=price)


@dataclass(frozen=True, slots=True)
class Model:
    """The scripted model's process."""

    pid: int
    url: str

    @property
    def connections(self) -> int:
        """How many are open to it."""
        here = f":{int(self.url.rpartition(':')[2]):04X}"
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return sum(row[1].endswith(here) and row[3] == "01" for row in rows)


@contextmanager
def model(script: Scenario, folder: Path) -> Iterator[Model]:
    """A scripted model in a process of its own."""
    path = folder / "scenario.json"
    path.write_text(script.model_dump_json())
    command = [sys.executable, "-m", "quarterdeck.models.scripted", "--scenario", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Model(process.pid, json.loads(process.stdout.readline())["url"])
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Counts:
    """What the deck has on record at one moment."""

    records: int
    steps: int
    """Answers of models that were taken up."""
    at_work: int
    failed: int
    """Jobs, and calls that cost what nobody counted."""
    connections: int
    """To the database, but for this one's and the benchmark's own."""


_COUNTS: Final = """
SELECT (SELECT coalesce(max(id), 0) FROM events), (SELECT coalesce(sum(calls), 0) FROM costs),
    (SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'),
    (SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed')
        + (SELECT coalesce(sum(estimated_calls), 0) FROM costs),
    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND backend_type = 'client backend' AND pid <> pg_backend_pid())
"""


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{pid} has ended")


class Worker:
    """One worker of the fleet, as a process."""

    def __init__(self, folder: Path, url: str, model_url: str, capacity: int) -> None:
        home = Path(tempfile.mkdtemp(dir=folder, prefix="home-"))
        (home / "deck.toml").write_text(DECK)
        home.chmod(0o755)  # the unprivileged user of the sandboxes has to get through
        names = {"QUARTERDECK_HOME": str(home), "QUARTERDECK_DATABASE_URL": url}
        names |= {"ANTHROPIC_BASE_URL": model_url, "ANTHROPIC_API_KEY": "a-key"}
        self.errors = home / "errors"
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.fleet_worker", str(capacity)],
                env=child_environment(names), stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid
        self.empty = 0
        """Bytes of memory before its first agent."""

    async def ready(self) -> None:
        """Wait until it takes jobs."""
        assert self._process.stdout is not None
        if not await asyncio.to_thread(self._process.stdout.readline):
            raise SystemExit(f"a worker did not start: {self.errors.read_text()[-2000:]}")
        self.empty = resident(self.pid)

    def end(self) -> None:
        """With force, and everything below it dies with it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass(frozen=True, slots=True)
class Span:
    """What was done between two moments."""

    seconds: float
    steps: int
    records: int
    workers_cpu: float
    """Seconds of CPU, with the sandboxes' own."""
    server_cpu: float
    model_cpu: float
    agents: int
    memory: float
    """Bytes that the workers grew by for each agent."""
    connections: int
    to_model: int

    @property
    def steps_a_second(self) -> float:
        return self.steps / self.seconds

    def cpu_ms(self, seconds: float) -> float:
        """Milliseconds of CPU a step."""
        return seconds / max(1, self.steps) * 1000


class Crowd:
    """A deck, its model and its workers."""

    def __init__(self, server: Server, url: str, store: Store, of: Model, folder: Path) -> None:
        self._server = server
        self._url = url
        self._store = store
        self._model = of
        self._folder = folder
        self.mine = 0
        """Connections to the database that are the benchmark's own."""
        self._journal = Log(store, SystemClock())
        self._engine = ProcrastinateEngine(store, url, Seat(ids.new_owner_id()), SystemClock())
        self.workers: list[Worker] = []
        self._agents: list[str] = []

    async def hire(self, count: int, capacity: int) -> None:
        """Start so many more workers, each with so many places."""
        more = [Worker(self._folder, self._url, self._model.url, capacity) for _ in range(count)]
        self.workers += more
        for worker in more:
            await worker.ready()

    def dismiss(self) -> None:
        """End all workers, with force."""
        for worker in self.workers:
            worker.end()

    async def order(self, agents: int) -> None:
        """Have runs for so many agents on record."""
        runs = [f"r-{number:04d}" for number in range(-(-agents // PER_RUN))]
        await asyncio.gather(*map(self._order, runs))
        self._agents = [ids.attempt_id(runs[n // PER_RUN], "part", n % PER_RUN + 1) for n in range(agents)]

    async def _order(self, run: str) -> None:
        blob = await self._journal.put(b"{}")
        created = e.RunCreated(
            run=run, goal="Read", goal_blob=blob, repository="/repository", target="main", base=BASE, into="main",
            config_blob=blob, budget_nusd=10**14, max_parallel=PER_RUN, user="bench", sandbox="bubblewrap",
        )  # fmt: skip
        claim = await self._journal.claim(ids.run_stream(run))
        await self._journal.append(claim, created)
        await self._store.write(lambda tx: Budgets().open(tx, run_purse(run), created.budget_nusd))

    async def let_in(self, seconds: float) -> None:
        """Let all agents in, evenly over that time."""
        loop = asyncio.get_running_loop()
        begun, done = loop.time(), 0
        while done < len(self._agents):
            passed = (loop.time() - begun) / seconds if seconds else 1.0
            due = min(len(self._agents), int(len(self._agents) * passed))
            await self._defer(self._agents[done:due])
            done = due
            await asyncio.sleep(_TICK)

    async def _defer(self, attempts: Sequence[str]) -> None:
        def work(tx: Tx) -> None:
            for attempt in attempts:
                self._engine.defer(tx, job_of(attempt))

        if attempts:
            await self._store.write(work)

    async def all_at_work(self, agents: int) -> None:
        """Wait until so many agents are at work."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while (counts := await self.counts()).at_work < agents:
                    await asyncio.sleep(_TICK)
        except TimeoutError:
            raise SystemExit(f"after {_PATIENCE:.0f} s there is {counts}; {self._errors()}") from None

    async def counts(self) -> Counts:
        """What the deck has on record now."""

        def asked() -> Counts:
            with psycopg.connect(self._url, autocommit=True) as connection:
                row: Any = connection.execute(_COUNTS).fetchone()
            records, steps, at_work, failed, connections = map(int, row)
            return Counts(records, steps, at_work, failed, connections - self.mine)

        return await asyncio.to_thread(asked)

    async def watch(self, seconds: float, agents: int) -> Span:
        """What so many agents do in that time. Raises SystemExit where not all of them were at work all the time."""
        before, cpu, began = await self.counts(), self._cpu(), asyncio.get_running_loop().time()
        await asyncio.sleep(seconds)
        after, more, ended = await self.counts(), self._cpu(), asyncio.get_running_loop().time()
        if after.failed or (before.at_work, after.at_work) != (agents, agents):
            raise SystemExit(f"not all agents were at work: {before}, then {after}; {self._errors()}")
        workers, server, model_cpu = (now - then for now, then in zip(more, cpu, strict=True))
        grown = sum(resident(worker.pid) - worker.empty for worker in self.workers)
        return Span(
            ended - began, after.steps - before.steps, after.records - before.records, workers, server, model_cpu,
            agents, grown / agents, after.connections, self._model.connections,
        )  # fmt: skip

    def _cpu(self) -> tuple[float, float, float]:
        return sum(used(worker.pid) for worker in self.workers), used(self._server.pid), used(self._model.pid)

    def _errors(self) -> str:
        return " ".join(worker.errors.read_text()[-1000:] for worker in self.workers)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A directory for a while; the unprivileged user of the sandboxes gets through."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@asynccontextmanager
async def crowd(server: Server, latency: float) -> AsyncIterator[Crowd]:
    """A fresh deck whose model takes `latency` seconds for each answer."""
    name = server.create()
    async with AsyncExitStack() as stack:
        stack.callback(server.drop, name)
        folder = stack.enter_context(open_folder())
        of = stack.enter_context(model(scenario(latency), folder))
        store = await open_url(server.url(name))
        stack.push_async_callback(store.close)
        await prepare(store)
        made = Crowd(server, server.url(name), store, of, folder)
        made.mine = (await made.counts()).connections
        stack.callback(made.dismiss)
        yield made
