"""The demo from its first line to its last.

Rules
- A sample repository, a deck of its own and a scripted model server; then real `quarterdeck` commands do the work.
- The engine is killed with SIGKILL in the middle, once, and another one resumes.
- It fails where something that it promises did not happen, or where what it looks at afterwards is not as it should
  be.
- Nothing is left behind: no process, no directory. `keep` keeps the directory, and so does a failure of the run.
"""

import asyncio
import signal
import tempfile
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quarterdeck.demo import screen
from quarterdeck.demo.actors import PRICES, Engine, ModelServer
from quarterdeck.demo.proof import Proof, prove
from quarterdeck.demo.sample import GOAL, Sample, make
from quarterdeck.demo.screen import Teller
from quarterdeck.demo.story import Mark, Said, Story
from quarterdeck.kernel.failures import DemoFailed, Exit, SandboxUnavailable, Stop
from quarterdeck.settings import DECK_FILE, load_settings
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.removal import remove_tree

DEADLINE: Final = 300.0
"""Seconds for the whole; far more than it takes."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo is played."""

    place: Path

    @property
    def home(self) -> Path:
        return self.place / "home"

    @property
    def repository(self) -> Path:
        return self.place / "webhooks"


def play(*, json: bool = False, keep: bool = False) -> int:
    """Play the demo; its exit code.

    Raises SandboxUnavailable where agents cannot be fenced in on this machine, DemoFailed, Stop.
    """
    return asyncio.run(_until_stopped(_play(json=json, keep=keep)))


async def _until_stopped(work: Coroutine[Any, Any, int]) -> int:
    """Clean up after SIGTERM and SIGHUP as after Ctrl-C."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise Stop from None


async def _play(*, json: bool, keep: bool) -> int:
    began = time.monotonic()
    no_color = load_settings().no_color
    story = Story()
    screen.introduce(no_color=no_color)
    with _stage(keep=keep) as stage:
        with screen.telling(story, no_color=no_color) as tell:
            async with asyncio.timeout(DEADLINE):
                proof = await _act(stage, story, tell)
        seconds = time.monotonic() - began
        ok = proof.ok and not story.missing and story.peak >= screen.PARALLEL
        kept = str(stage.place) if keep else ""
        if json:
            screen.print_json(screen.as_json(story, proof, seconds, kept, ok))
        else:
            screen.report(story, proof, seconds, kept, no_color=no_color)
    return Exit.DONE if ok else Exit.FAILED


@contextmanager
def _stage(*, keep: bool) -> Iterator[Stage]:
    stage = Stage(Path(tempfile.mkdtemp(prefix="quarterdeck-demo-")).resolve())
    stage.home.mkdir()
    (stage.home / DECK_FILE).write_text(PRICES, encoding="utf-8")
    try:
        yield stage
    except DemoFailed as error:
        keep = True
        error.fix = f"QUARTERDECK_HOME={stage.home} quarterdeck ps   (kept, to be looked into)"
        raise
    finally:
        if not keep:
            _remove(stage)


def _remove(stage: Stage) -> None:
    ground = Ground(stage.home)
    try:
        if ground.root.exists():
            ground.destroy()
    finally:
        remove_tree(stage.place)


async def _act(stage: Stage, story: Story, tell: Teller) -> Proof:
    """The whole run, the kill in the middle of it, and a look at what came out."""
    sample = await make(stage.repository)
    tell(Said("sample", f"a git repository of {sample.files} files at {sample.place}"))
    async with AsyncExitStack() as stack:
        server = await ModelServer.start()
        stack.push_async_callback(server.stop)
        tell(Said("model", f"scripted, at {server.url} (process {server.pid})"))
        killed = await _first(stage, story, tell, server, sample)
        resumed = await _second(stage, story, tell, server)
        tell(Said("demo", "looks at the result for itself", Mark.WORK))
        billed = await server.stop()
        return await prove(sample, stage.home, story.run, (killed, resumed), billed)


async def _first(stage: Stage, story: Story, tell: Teller, server: ModelServer, sample: Sample) -> int:
    """Run until it is worth a kill, and kill it; the process that was killed."""
    engine = await Engine.start(stage.home, server.url, "run", GOAL, "--repo", str(sample.place))
    tell(Said("engine", f'quarterdeck run "{GOAL}" (process {engine.pid})', Mark.WORK))
    try:
        async for line in engine.lines():
            _show(line, story, tell)
            if story.may_be_killed:
                engine.kill()
                tell(story.killed(engine.pid))
                break
        async for line in engine.lines():
            _show(line, story, tell)  # what it had printed before it died
        code = await engine.wait()
    finally:
        await engine.stop()
    if code != -signal.SIGKILL:
        raise DemoFailed("the run ended before it could be killed", why=engine.complaint or f"exit {code}")
    return engine.pid


async def _second(stage: Stage, story: Story, tell: Teller, server: ModelServer) -> int:
    """Resume the run and follow it to its end; the process that did it."""
    engine = await Engine.start(stage.home, server.url, "resume", story.run)
    tell(story.resumed(engine.pid))
    try:
        async for line in engine.lines():
            _show(line, story, tell)
        code = await engine.wait()
    finally:
        await engine.stop()
    story.finished(code == Exit.DONE)
    if code != Exit.DONE:
        tell(Said("engine", f"exit {code}: {engine.complaint}", Mark.TROUBLE))
    return engine.pid


def _show(line: dict[str, Any], story: Story, tell: Teller) -> None:
    """Take a line of a command over. Raises what the command says is in the way."""
    match line.get("kind"):
        case "event":
            for said in story.take(line):
                tell(said)
        case "error":
            kind = SandboxUnavailable if line.get("exit_code") == Exit.USAGE else DemoFailed
            raise kind(str(line["message"]), why=str(line.get("why", "")), fix=str(line.get("fix", "")))
        case _:
            return
