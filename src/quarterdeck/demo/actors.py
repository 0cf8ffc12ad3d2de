"""The processes of the demo: the scripted model server, and the real `quarterdeck` commands.

Rules
- Each is a process of its own in a session of its own: a key press in the terminal reaches the demo alone, which ends
  what it started.
- The server outlives the engine that is killed; it ends with the demo, because its stdin does.
- They are told everything by their environment and a deck of their own: nothing of the user's deck is used or changed.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from quarterdeck.kernel.failures import DemoFailed
from quarterdeck.settings import child_environment

PRICES: Final = """\
# USD per million tokens; the scripted server bills at the same prices.
[prices]
"anthropic:scripted-brain" = { input = 4, output = 20, cache_read = 0.4, cache_write = 5 }
"openai:scripted-hands" = { input = 1, output = 5, cache_read = 0.1 }
"""
"""The operator's deck.toml: a repository may not price a model."""

_LINE_LIMIT: Final = 4 * 1024 * 1024
_START_SECONDS: Final = 30.0
_END_SECONDS: Final = 20.0
_COMPLAINT: Final = 4_000
_NOWHERE: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class Billed:
    """What a provider would have charged."""

    usd: float
    requests: int


class ModelServer:
    """`python -m quarterdeck.models.scripted` with the demo's scenario."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url

    @classmethod
    async def start(cls) -> "ModelServer":
        """Start it and wait until it listens. Raises DemoFailed."""
        with resources.as_file(resources.files("quarterdeck.demo") / "scenario.yaml") as scenario:
            process = await _spawn("quarterdeck.models.scripted", "--scenario", str(scenario), fed=True)
            ready = await _line(process, _START_SECONDS)
        if ready is None:
            await _end(process)
            raise DemoFailed("the scripted model server did not start")
        return cls(process, str(ready["url"]))

    @property
    def pid(self) -> int:
        return self._process.pid

    async def stop(self) -> Billed | None:
        """End it; what it would have billed. None where it was ended before, or does not say."""
        if self._process.stdin is None or self._process.returncode is not None:
            return None
        self._process.stdin.close()
        said = await _line(self._process, _END_SECONDS)
        await _end(self._process)
        return Billed(float(said["usd"]), int(said["requests"])) if said is not None else None


class Engine:
    """One `quarterdeck` command that works on the run and prints JSON Lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._complaint = b""
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, home: Path, url: str, *arguments: str) -> "Engine":
        """Start `quarterdeck <arguments>` on the deck in `home`, with the model server at `url`."""
        environment: dict[str, str | None] = {
            **dict.fromkeys(_NOWHERE),
            "QUARTERDECK_HOME": str(home),
            "QUARTERDECK_DATABASE_URL": None,
            "QUARTERDECK_PROBE": None,
            "ANTHROPIC_API_KEY": "scripted",
            "ANTHROPIC_BASE_URL": url,
            "OPENAI_API_KEY": "scripted",
            "OPENAI_BASE_URL": f"{url}/v1",
        }
        return cls(await _spawn("quarterdeck.cli.main", *arguments, "--json", changes=environment))

    @property
    def pid(self) -> int:
        return self._process.pid

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        """What it prints, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.endswith(b"\n"):  # the last line of a killed process may be cut
                yield json.loads(line)

    def kill(self) -> None:
        """SIGKILL, for the process itself and nothing else."""
        self._process.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        await self._listening
        return await self._process.wait()

    @property
    def complaint(self) -> str:
        """The tail of its stderr."""
        return self._complaint.decode("utf-8", "replace").strip()

    async def stop(self) -> None:
        """End it where it still runs. Idempotent."""
        await _end(self._process)
        await self._listening

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(65_536):
            self._complaint = (self._complaint + chunk)[-_COMPLAINT:]


async def _spawn(
    module: str, *arguments: str, fed: bool = False, changes: dict[str, str | None] | None = None
) -> asyncio.subprocess.Process:
    # -P: the directory that the demo is started in is somebody's, not a place to import from.
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.PIPE if fed else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=None if fed else asyncio.subprocess.PIPE,
        env=child_environment(changes or {}),
        limit=_LINE_LIMIT,
        start_new_session=True,
    )


async def _line(process: asyncio.subprocess.Process, timeout: float) -> dict[str, Any] | None:
    """The next line of JSON; None where there is none in time."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(timeout):
            line = await process.stdout.readline()
    except TimeoutError:
        return None
    found: dict[str, Any] | None = json.loads(line) if line else None
    return found


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL where that is not obeyed in time. Idempotent."""
    if process.returncode is not None:
        return
    try:
        process.terminate()
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except ProcessLookupError:
        await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
