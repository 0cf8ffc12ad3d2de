"""What a scene plays on: the scripted model, a home, a repository, and `quarterdeck` as a process of its own.

Rules
- `quarterdeck` is the shipped program; what it says is what its JSON lines say. Nothing of it runs in this process.
- Real keys are planted in its environment; a sandbox must never see them.
- Whatever a scene started is gone when the scene is over: agents are recognised by the workspace that they see.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from quarterdeck.models.scripted.faults import Kind, pick
from quarterdeck.models.scripted.heard import Heard
from quarterdeck.models.scripted.scenario import Rule, Scenario, choose
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.workplace.git import NO_CONFIGURATION, Git
from quarterdeck.workplace.ground import Ground
from test_agents import job

LONGEST: Final = 150.0
"""Seconds that one command of `quarterdeck` may take."""
_GOING: Final = 10.0
_LINE: Final = 64 * 1024 * 1024


class Failed(Exception):
    """What is not as it has to be."""


def expect(holds: bool, what: str) -> None:
    """Raises Failed."""
    if not holds:
        raise Failed(what)


class Server(ScriptedServer):
    """The scripted model, which says when a request was left hanging."""

    def __init__(self, scenarios: Iterable[Scenario] = ()) -> None:
        super().__init__(scenarios, keep=100_000)
        self._hanging: dict[str, asyncio.Event] = {}

    def attempt(self, scenario: Scenario, request: Heard) -> int:
        count = super().attempt(scenario, request)
        fault = pick(choose(scenario, request).faults, count)
        if fault is not None and fault.kind is Kind.HANG:
            self.hanging(scenario.name).set()
        return count

    def hanging(self, scenario: str) -> asyncio.Event:
        """Set once a request of that scenario gets no answer."""
        return self._hanging.setdefault(scenario, asyncio.Event())


@dataclass(slots=True)
class Ran:
    """How a command of `quarterdeck` ended."""

    code: int | None
    lines: list[dict[str, Any]]
    errors: str

    @property
    def result(self) -> dict[str, Any]:
        """The line `run.finished`. Raises Failed."""
        found = [line for line in self.lines if line.get("kind") == "run.finished"]
        if found:
            return found[-1]
        raise Failed(f"no result; exit code {self.code}; {self.errors[-1500:]}")

    def task(self, name: str) -> dict[str, Any]:
        """What became of a task."""
        found: dict[str, Any] = next(task for task in self.result["tasks"] if task["id"] == name)
        return found

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The records of that kind that were printed."""
        events = [line["event"] for line in self.lines if line.get("kind") == "event"]
        return [event for event in events if event["kind"] == kind]

    def summary(self) -> str:
        """For people: how it ended and why."""
        if not any(line.get("kind") == "run.finished" for line in self.lines):
            return f"exit code {self.code}, no result: {self.errors[-1500:]}"
        tasks = "; ".join(f"{task['id']} {task['status']}: {task.get('reason')}" for task in self.result["tasks"])
        return f"exit code {self.code}, {self.result['status']}; {tasks}; {self.result.get('limitations')}"


class Process:
    """A `quarterdeck` process that prints JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self._name = name
        self.lines: list[dict[str, Any]] = []
        self._errors = b""
        self._reading = asyncio.gather(self._read(), self._complain())
        self._known = asyncio.Event()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            line = json.loads(raw)
            self.lines.append(line)
            if line.get("run"):
                self._known.set()

    async def _complain(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(65536):
            self._errors = (self._errors + data)[-20_000:]

    async def run(self) -> str:
        """The id of its run, as soon as it says so."""
        async with asyncio.timeout(LONGEST):
            await self._known.wait()
        return str(next(line["run"] for line in self.lines if line.get("run")))

    async def event(self, kind: str, number: int) -> dict[str, Any] | None:
        """The n-th record of that kind, from 1, once it is printed; None = the process ended without it."""
        async with asyncio.timeout(LONGEST):
            while True:
                over = self._reading.done()
                found = Ran(None, self.lines, "").events(kind)
                if len(found) >= number:
                    return found[number - 1]
                if over:
                    return None
                await asyncio.sleep(0.1)

    async def ended(self, longest: float = LONGEST) -> Ran:
        """Wait for its end. Raises Failed."""
        try:
            async with asyncio.timeout(longest):
                code = await self._process.wait()
                await self._reading
        except TimeoutError:
            await self.kill()
            last = [json.dumps(line.get("event", line))[:200] for line in self.lines[-4:]]
            raise Failed(f"`{self._name}` did not end in {longest:.0f} s; last: {last}; {self.said()[-500:]}") from None
        return Ran(code, self.lines, self.said())

    def said(self) -> str:
        return self._errors.decode("utf-8", "replace")

    async def kill(self) -> None:
        """Kill it alone, as a machine would."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self._reading


@dataclass(slots=True)
class Stage:
    """One agent's place."""

    server: Server
    agent: str
    folder: Path
    path: str
    """PATH of what is started."""
    cost: float = 0.0
    """USD of the whole job, once the first scene has been played."""
    made: list[Process] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def repository(self, scene: str) -> Path:
        return self.folder / scene

    async def prepare(self, scene: str, files: Mapping[str, str], agents: Mapping[str, str]) -> None:
        """A fresh repository and plan."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "deck.toml").write_text(job.deck_toml())
        await job.make_repository(self.repository(scene), files)
        (self.folder / f"{scene}.yaml").write_text(job.plan(agents))

    def say(self, scene: str, *rules: Rule) -> None:
        """What the model says in that scene from now on."""
        self.server.put(job.scenario(self.name(scene), rules))

    def name(self, scene: str) -> str:
        return f"{self.agent}-{scene}"

    async def start(self, scene: str, *arguments: str) -> Process:
        """Start a command of `quarterdeck`."""
        url = self.server.at(self.name(scene))
        env = {
            "PATH": f"{self.path}{os.pathsep}{os.defpath}{os.pathsep}{os.environ.get('PATH', '')}",
            "HOME": str(self.folder),
            "QUARTERDECK_HOME": str(self.home),
            "ANTHROPIC_BASE_URL": url,
            "OPENAI_BASE_URL": f"{url}/v1",
            "GOOGLE_GEMINI_BASE_URL": url,
            "NO_COLOR": "1",
            **dict.fromkeys(("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"), job.SECRET),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "quarterdeck.cli.main", *arguments, "--json", "--no-input"),
            cwd=self.folder,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LINE,
        )
        made = Process(process, arguments[0])
        self.made.append(made)
        return made

    async def run(self, scene: str, *arguments: str) -> Process:
        """Start the run of a scene."""
        plan = self.folder / f"{scene}.yaml"
        return await self.start(scene, "run", "--plan", str(plan), "--repo", str(self.repository(scene)), *arguments)

    async def files(self, scene: str, ran: Ran) -> list[str]:
        """What lies on the branch that the run landed on."""
        git = Git("-C", str(self.repository(scene)), environment=NO_CONFIGURATION)
        return (await git.text("ls-tree", "-r", "--name-only", ran.result["target"]["branch"])).splitlines()

    def billed(self, scene: str) -> float:
        """USD that the model's vendor would have charged for a scene."""
        name, price = self.name(scene), job.PRICE
        usages = [asked.usage for asked in self.server.requests if asked.scenario == name]
        tokens = sum(usage.input + usage.cache_read + usage.cache_write for usage in usages)
        return (tokens * price.input + sum(usage.output for usage in usages) * price.output) / 1e6

    async def nothing_left(self) -> None:
        """Wait until no agent's process is there any more. Raises Failed."""
        for _ in range(int(_GOING / 0.2)):
            left = running(Ground(self.home).root)
            if not left:
                return
            await asyncio.sleep(0.2)
        raise Failed(f"processes are left: {', '.join(left)}")

    async def close(self) -> None:
        """End whatever a scene that broke off has left."""
        for process in self.made:
            await process.kill()
        self.made.clear()

    def remove(self) -> None:
        """Remove everything that was made for it."""
        ground = Ground(self.home).root
        shutil.rmtree(ground, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def running(ground: Path) -> list[str]:
    """Processes in a sandbox over a workspace of that ground: `pid command`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if str(ground).encode() in (entry / "mountinfo").read_bytes():
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")[:80]
                found.append(f"{entry.name} {command.decode('utf-8', 'replace')}")
        except OSError:  # it has ended meanwhile
            continue
    return found
