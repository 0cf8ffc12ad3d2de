"""What tests of whole runs share: a real repository, a real deck, and agents whose instructions are shell scripts."""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import store_kit

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.delivery.order import Order, RunResult, TaskResult
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.settings import Settings
from quarterdeck.testing.forked import FORKS, QUARTERDECK, Process
from quarterdeck.testing.told import READS
from quarterdeck.workplace.ground import Ground

GATE = "sh check.sh"
_SOON = '[workers]\ntakeover = "4s"\nwithout_sandbox = true\n'
"""Of an operator's deck.toml: among many workers, one that was killed is missed soon, and what is to be shown needs no
sandbox."""
AGENT = """\
---
name: {name}
description: does what its task's instructions say, as a shell script
harness: command
command: ["python3", "-IS", "-c", {code}]
limits: {{wall: {wall}}}
---
"""
SHELL = (
    f"{READS}import os; "
    "env=dict(os.environ, ATTEMPT=str(d['attempt']), "
    "FEEDBACK=' | '.join(f['source']+': '+f['reason']+' '+f['detail'] for f in d['feedback'])); "
    "os.execvpe('sh',['sh','-c',d['task']['instructions']],env)"
)
REVIEWER = """\
---
name: critic
description: accepts what does not say please-change
harness: command
command: ["python3", "-IS", "-c", {code}]
expects: review
---
"""
CRITIC = (
    f"{READS}bad='+please-change' in d['diff']; "
    'print(\'{"verdict": "change", "summary": "take that line out"}\' if bad else '
    '\'{"verdict": "accept", "summary": "fine"}\')'
)


def git(where: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@localhost", "-c", "init.defaultBranch=main"]
    identity += ["-c", "maintenance.auto=false"]  # else each commit starts a process that finds nothing to do
    done = subprocess.run(["git", *identity, "-C", str(where), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def task(name: str, script: str, **fields: Any) -> dict[str, Any]:
    """A task whose agent runs `script`."""
    plain = {"id": name, "title": name, "instructions": script, "paths": [f"{name}.txt"], "agent": "shell"}
    return {**plain, **fields}


@dataclass
class Place:
    """A repository and the home of a deck."""

    root: Path
    keys: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None

    @property
    def repository(self) -> Path:
        return self.root / "repository"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def settings(self) -> Settings:
        openai = f"{self.url}/v1" if self.url else None
        return Settings(
            home=self.home,
            user="ada",
            keys=self.keys,
            anthropic_base_url=self.url,
            openai_base_url=openai,
            database_url=store_kit.url(self.home / "deck.db"),
            path=os.environ["PATH"],
        )

    def begin(
        self,
        files: Mapping[str, str] | None = None,
        *,
        deck: str = "",
        gate: str | None = GATE,
        wall: float = 20,
        name: str = "repository",
    ) -> Path:
        """Make the repository, with its checks and agents."""
        where = self.root / name
        everything = {
            "check.sh": "test ! -e BAD\n",
            "shared.txt": "one\ntwo\nthree\n",
            ".quarterdeck/deck.toml": (f'[checks]\ngate = ["{gate}"]\n' if gate else "") + deck,
            ".quarterdeck/agents/shell.md": AGENT.format(name="shell", code=json.dumps(SHELL), wall=wall),
            ".quarterdeck/agents/critic.md": REVIEWER.format(code=json.dumps(CRITIC)),
            **(files or {}),
        }
        git(self.root, "init", "-q", str(where))
        self.commit(everything, where)
        return where

    def commit(self, files: Mapping[str, str], where: Path | None = None) -> str:
        where = where or self.repository
        for path, text in files.items():
            (where / path).parent.mkdir(parents=True, exist_ok=True)
            (where / path).write_text(text)
        git(where, "add", "-A")
        git(where, "commit", "-qm", "change")
        return git(where, "rev-parse", "HEAD")

    def operator(self, text: str = "") -> None:
        """Write the operator's deck.toml."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "deck.toml").write_text(text + (_SOON if store_kit.served() else ""))

    def plan(self, *tasks: dict[str, Any]) -> Path:
        path = self.root / "plan.json"
        path.write_text(json.dumps({"v": 1, "goal": "the goal", "tasks": tasks}))
        return path

    def order(self, *tasks: dict[str, Any], **fields: Any) -> Order:
        fields.setdefault("repository", self.repository)
        return Order(plan_path=self.plan(*tasks) if tasks else None, user="ada", **fields)

    def tree(self, result: RunResult) -> dict[str, str]:
        """The files of the target, without those of the beginning."""
        names = git(self.repository, "diff", "--name-only", "main", result.target.branch).splitlines()
        return {name: git(self.repository, "show", f"{result.target.branch}:{name}") for name in names}

    @contextmanager
    def quarterdeck(self, *arguments: str, cold: bool = False, **environment: str) -> Iterator[Process]:
        """The command line as a process of its own. `cold`: a child of this one, which loads everything itself."""
        changes = {"QUARTERDECK_HOME": str(self.home), **store_kit.told(self.home / "deck.db"), **environment}
        if self.url:
            changes |= {"ANTHROPIC_BASE_URL": self.url, "OPENAI_BASE_URL": f"{self.url}/v1", **self.keys}
        process = FORKS.start(QUARTERDECK, arguments, cwd=self.repository, env={**os.environ, **changes}, cold=cold)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def call(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """One command to its end: exit code, stdout, stderr."""
        with self.quarterdeck(*arguments, cold=False, **environment) as process:
            out, err = process.communicate(timeout=60)
            return process.wait(), out, err


@asynccontextmanager
async def carried(place: Place, *tasks: dict[str, Any], **fields: Any) -> AsyncIterator[tuple[Deck, RunResult]]:
    """A deck, and a run of these tasks that was carried to its rest."""
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(*tasks, **fields))
        await deck.work(run)
        yield deck, await deck.result(run)


async def events(deck: Deck, stream: str) -> list[e.EventBase]:
    return [record.event for record in await deck.journal.read(stream)]


async def run_events(deck: Deck, run: str) -> list[e.EventBase]:
    return await events(deck, ids.run_stream(run))


def one(result: RunResult, name: str) -> TaskResult:
    """The result of one task."""
    return next(item for item in result.tasks if item.id == name)


@contextmanager
def place_at(root: Path) -> Iterator[Place]:
    """A place, cleaned up afterwards."""
    place = Place(root)
    if store_kit.served():
        place.operator()
    try:
        yield place
    finally:
        Ground(place.home).destroy()
