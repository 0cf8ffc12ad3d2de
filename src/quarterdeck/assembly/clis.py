"""The CLIs of agents on this machine: which are there, in which version, and whether their user is logged in.

Rules
- Looking starts nothing but `--version` of a program that says its version nowhere else, with a deadline, and hears no
  more than a version is long. Nothing of it stays. One that cannot be started is not installed.
- A login is seen by its files alone; whether it still holds, only a probe can tell.
"""

import asyncio
import contextlib
import os
import re
import signal
from pathlib import Path
from typing import Final

from quarterdeck.agents.acp_login import Logins
from quarterdeck.agents.profiles import PROFILES
from quarterdeck.agents.profiles.installed import Found, look, on_host
from quarterdeck.assembly.outside import logins
from quarterdeck.delivery.order import Check, Cli
from quarterdeck.settings import Settings, child_environment

_SECONDS: Final = 10.0
_LAST_SECONDS: Final = 1.0
_MOST: Final = 64 * 1024
"""Bytes of what it says."""
_NOT_THERE: Final = 127
"""Exit code of `env` and of shells that did not find a program: most of these CLIs begin with `env node`."""
_VERSION: Final = re.compile(r"(?<!\d)\d+\.\d+[\w.+-]*")


async def known(settings: Settings) -> tuple[Cli, ...]:
    """All CLIs that a profile knows."""
    found = await asyncio.to_thread(lambda: [look(profile, settings.path) for profile in PROFILES.values()])
    own = logins(settings)
    return tuple(await asyncio.gather(*(_known(item, settings.path, own) for item in found)))


async def _known(found: Found, path: str, own: Logins) -> Cli:
    profile, installation = found.profile, found.installation
    login = own.place(profile) is not None
    if installation is None:
        return Cli(profile=profile.name, title=profile.title, login=login, missing=found.missing, fix=profile.install)
    try:
        version = installation.version or await _asked(on_host(installation), path)
    except OSError as error:
        missing = f"{on_host(installation)} cannot be started: {_why(error)}"
        return Cli(profile=profile.name, title=profile.title, login=login, missing=missing, fix=profile.install)
    return Cli(profile=profile.name, title=profile.title, installed=True, version=version, login=login)


async def _asked(program: Path, path: str) -> str:
    """What the program says its version is; empty where it does not say. Raises OSError where it cannot be started."""
    process = await asyncio.create_subprocess_exec(
        str(program),
        "--version",
        env=child_environment({"PATH": path}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None  # it is a pipe
    said = b""
    try:
        async with asyncio.timeout(_SECONDS):
            said = await process.stdout.readexactly(_MOST)
    except asyncio.IncompleteReadError as whole:
        said = whole.partial
    except TimeoutError:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):  # somebody that it left behind may hold its pipe
                await process.stdout.read()  # a pipe that is full keeps it from being seen as over
                await process.wait()
    if process.returncode == _NOT_THERE:
        raise FileNotFoundError
    match = _VERSION.search(said.decode("utf-8", "replace"))
    return match[0] if match is not None else ""


def _why(error: OSError) -> str:
    """Why a file that is there cannot be started."""
    if isinstance(error, FileNotFoundError):
        return "the program that it runs on is not there"
    return error.strerror or str(error)


def checks(clis: tuple[Cli, ...]) -> list[Check]:
    """One line a CLI, for `doctor`. Pure."""
    made = []
    for cli in clis:
        login = "its own login is there" if cli.login else "no login of its own"
        detail = f"{cli.version or 'of an unknown version'}; {login}" if cli.installed else cli.missing
        made.append(Check(name=cli.title, ok=cli.installed, detail=detail, fix=cli.fix, level="info"))
    return made
