"""`quarterdeck worker` and `quarterdeck up --no-work` as they are shipped: processes on one PostgreSQL, each with a
home of its own, of which one is asked to end and one is killed.

An agent says by a named pipe that it is at work, and waits for an answer: nothing depends on how fast a machine is.
"""

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cli_kit import assert_refused, call
from deck_kit import Place, events, git, one, task

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.failures import Exit
from quarterdeck.settings import load_settings
from quarterdeck.testing.chaos.processes import kill_all
from quarterdeck.testing.forked import FORKS, QUARTERDECK, Process
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.watchdog import descendants

pytest_plugins = ("postgres_kit",)

LONGEST = 60.0
"""Seconds that anything here may take."""
OPERATORS = '[workers]\ntakeover = "3s"\ndrain = "60s"\n[sandbox]\nbackend = "none"\n'
"""Without a sandbox, because the agents talk with the test by files."""


class Machines(Place):
    """A clone of a remote, and homes beside each other over one database."""

    def __init__(self, root: Path, url: str) -> None:
        super().__init__(root)
        self.database = url
        self.begin()
        git(root, "init", "-q", "--bare", str(self.remote))
        git(self.repository, "remote", "add", "origin", str(self.remote))
        git(self.repository, "push", "-q", "origin", "HEAD:refs/heads/main")
        self.homes: list[Path] = []

    @property
    def remote(self) -> Path:
        return self.root / "remote.git"

    def environment(self, name: str) -> dict[str, str]:
        """Of a process with that home."""
        home = self.root / name
        if home not in self.homes:
            home.mkdir()
            (home / "deck.toml").write_text(OPERATORS)
            self.homes.append(home)
        return {"QUARTERDECK_HOME": str(home), "QUARTERDECK_DATABASE_URL": self.database}

    @contextmanager
    def machine(self, name: str, *arguments: str, cold: bool = False) -> Iterator[tuple[Process, dict[str, Any]]]:
        """A process on a machine of its own, and the first line that it said. In the end nothing of it is left."""
        # Not in the clone: a worker has none.
        environment = {**os.environ, **self.environment(name)}
        process = FORKS.start(
            QUARTERDECK, (*arguments, "--json"), cwd=self.root / name, env=environment, new_session=True, cold=cold
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            yield process, json.loads(line)
        finally:
            if process.poll() is None:
                kill_all((*descendants(process.pid), process.pid))
            process.communicate()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Deck]:
        """The deck, in this process, which performs nothing."""
        async with open_deck(load_settings({**os.environ, **self.environment("watcher")})) as deck:
            yield deck


@pytest.fixture
def machines(tmp_path: Path, workers_url: str) -> Iterator[Machines]:
    made = Machines(tmp_path, workers_url)
    yield made
    for home in made.homes:
        Ground(home).destroy()


async def until(deck: Deck, stream: str, kind: str) -> None:
    """Wait for an event of that kind."""
    async with asyncio.timeout(LONGEST):
        async for record in deck.journal.follow(stream):
            if record.event.kind == kind:
                return


class Pipe:
    """A named pipe by which an agent and the test tell each other that something has come."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        path.chmod(0o666)
        self.path = path
        self._end = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # both ends: nobody waits for the other to open it

    async def told(self) -> None:
        """Wait until the agent has said something."""
        came = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._end, came.set)
        try:
            async with asyncio.timeout(LONGEST):
                await came.wait()
        finally:
            asyncio.get_running_loop().remove_reader(self._end)

    def tell(self) -> None:
        """Say something to the agent."""
        os.write(self._end, b"\n")

    def close(self) -> None:
        os.close(self._end)


@pytest.fixture
def pipes() -> Iterator[tuple[Pipe, Pipe]]:
    """What an agent says, and what it waits for, in a folder that every user may write to: where we are root, agents
    are somebody else."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        made = Pipe(folder / "ready"), Pipe(folder / "go")
        yield made
        for pipe in made:
            pipe.close()


async def ended(process: Process) -> tuple[int, str]:
    """How it ended, and what it said on stderr."""
    _, errors = await asyncio.to_thread(process.communicate, None, LONGEST)
    assert process.returncode is not None
    return process.returncode, errors


async def kinds(deck: Deck, run: str, kind: str) -> int:
    """How many events of that kind there are of the run's first attempt."""
    found = await events(deck, ids.attempt_stream(ids.attempt_id(run, "one", 1)))
    return sum(event.kind == kind for event in found)


@pytest.mark.slow
async def test_a_worker_that_is_asked_to_end_ends_what_it_has_begun(
    machines: Machines, pipes: tuple[Pipe, Pipe]
) -> None:
    """Ordered by the API of a server that does no work; what is left of the run, another worker does."""
    ready, go = pipes
    script = f"echo > {ready.path}; read answer < {go.path}; echo one > one.txt"
    served = machines.machine("server", "up", "--no-work", "--port", "0")
    with served as (server, at), machines.machine("first", "worker", "--labels", "gpu", cold=True) as (first, said):
        assert (said["kind"], said["labels"]) == ("worker", ["gpu"]), said
        plan = machines.plan(task("one", script, runs_on=["gpu"])).read_text()
        order = {"plan": plan, "repository": str(machines.repository), "sandbox": "none"}
        answer = await asyncio.to_thread(httpx2.post, f"{at['url']}/api/v1/runs", json=order, timeout=60)
        assert answer.status_code == 201, answer.text
        run = answer.json()["run"]
        async with machines.watched() as deck:
            await ready.told()
            first.send_signal(signal.SIGTERM)
            mark = 0
            async with asyncio.timeout(LONGEST):
                while not any(worker.ends for worker in await deck._parts.engine.workers()):
                    mark = await deck._parts.store.changed(mark, 0.2)
            assert first.poll() is None, "it gives its agent time"
            go.tell()
            code, errors = await ended(first)
            assert (code, "ended in order" in errors) == (Exit.DONE, True), errors
            assert await kinds(deck, run, "harness.finished") == 1
            assert not (await deck.views.run(run)).status.finished, "it took nothing more"
            with machines.machine("second", "worker", "--labels", "gpu,big") as (second, _):
                await until(deck, ids.run_stream(run), "run.finished")
                result = await deck.result(run)
                assert (result.exit_code, one(result, "one").attempts) == (Exit.DONE, 1), result
                assert await kinds(deck, run, "harness.started") == 1, "nothing is done twice"
                assert git(machines.remote, "show", f"{result.target.branch}:one.txt") == "one"
                second.send_signal(signal.SIGTERM)
                assert (await ended(second))[0] == Exit.DONE
            assert (await deck.verify()).faults == ()
        server.send_signal(signal.SIGTERM)
        code, errors = await ended(server)
        assert (code, "ended in order" in errors) == (Exit.DONE, True), errors


@pytest.mark.slow
async def test_what_a_killed_worker_had_begun_another_one_ends(machines: Machines, pipes: tuple[Pipe, Pipe]) -> None:
    ready, begun = pipes[0], pipes[0].path.with_name("begun")
    script = f"if ! test -e {begun}; then : > {begun}; echo > {ready.path}; sleep 600; fi; echo one > one.txt"
    async with machines.watched() as deck:
        with machines.machine("first", "worker") as (first, _):
            run = await deck.create(machines.order(task("one", script), sandbox="none"))
            await ready.told()
            with machines.machine("second", "worker") as (second, _):
                kill_all((first.pid, *descendants(first.pid)))
                assert first.wait(LONGEST) == -signal.SIGKILL
                await until(deck, ids.run_stream(run), "run.finished")
                result = await deck.result(run)
                assert (result.exit_code, one(result, "one").attempts) == (Exit.DONE, 1), result
                assert await kinds(deck, run, "harness.started") == 2, "the killed one's, and the heir's"
                assert git(machines.remote, "show", f"{result.target.branch}:one.txt") == "one"
                second.send_signal(signal.SIGTERM)
                assert (await ended(second))[0] == Exit.DONE
        assert (await deck.verify()).faults == ()
        created = await deck.ordered(run)
        landed = [
            event for event in await events(deck, ids.gate_stream(created.target)) if event.kind == "change.landed"
        ]
        assert len(landed) == 1 and isinstance(landed[0], e.ChangeLanded)


# --- what cannot be started -----------------------------------------------------------------------------------

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.mark.embedded("it is refused before anything depends on where the deck lies")
@pytest.mark.parametrize(
    ("arguments", "url", "code", "words"),
    [
        (("--queues", "wrok"), NOWHERE, Exit.USAGE, ("there is no queue wrok", "--queues control,work,background")),
        (("--queues", " , "), NOWHERE, Exit.USAGE, ("without queues",)),
        (("--labels", "a b"), NOWHERE, Exit.USAGE, ("'a b' is no label", "--labels gpu,arch=arm64")),
        (("--labels", "=x"), NOWHERE, Exit.USAGE, ("'=x' is no label",)),
        (("--labels", "a,b,c,d,e,f,g"), NOWHERE, Exit.USAGE, ("7 labels are too many",)),
        ((), "", Exit.USAGE, ("QUARTERDECK_DATABASE_URL is not set", "export QUARTERDECK_DATABASE_URL=postgresql://")),
        (
            (),
            NOWHERE,
            Exit.UNREACHABLE,
            ("nothing at 127.0.0.1:1 cannot be reached", "refused", "see whether its server"),
        ),
        ((), "postgresql://[bad", Exit.USAGE, ("QUARTERDECK_DATABASE_URL",)),
    ],
)
def test_a_worker_that_cannot_work_says_why(
    tmp_path: Path, arguments: tuple[str, ...], url: str, code: int, words: tuple[str, ...]
) -> None:
    said = call(Place(tmp_path), "worker", *arguments, QUARTERDECK_DATABASE_URL=url)
    assert_refused(said, code, *words)


@pytest.mark.embedded("it is refused before anything depends on where the deck lies")
@pytest.mark.parametrize(
    "command", [("ps",), ("up", "--port", "0"), ("run", "do it"), ("show", "r-1"), ("db", "check")]
)
def test_a_database_that_cannot_be_reached_is_said_by_every_command(tmp_path: Path, command: tuple[str, ...]) -> None:
    said = call(Place(tmp_path), *command, QUARTERDECK_DATABASE_URL=NOWHERE)
    assert_refused(said, Exit.UNREACHABLE, "nothing at 127.0.0.1:1 cannot be reached", "QUARTERDECK_DATABASE_URL")


@pytest.mark.embedded("it is refused before anything depends on where the deck lies")
def test_a_capacity_that_is_none_is_refused(tmp_path: Path) -> None:
    said = call(Place(tmp_path), "worker", "--capacity", "0", QUARTERDECK_DATABASE_URL=NOWHERE)
    assert (said.code, "--capacity" in said.err) == (Exit.USAGE, True), said
