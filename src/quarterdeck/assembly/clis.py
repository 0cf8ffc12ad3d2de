"""The CLIs of agents on this machine: which are there, in which version, and whether their user is logged in.

Rules
- Looking starts nothing but `--version` of a program that says its version nowhere else, with a deadline.
- A login is seen by its files alone; whether it still holds, only a probe can tell.
"""

import asyncio
import re
from pathlib import Path
from typing import Final

from quarterdeck.agents.acp_login import Logins
from quarterdeck.agents.profiles import PROFILES
from quarterdeck.agents.profiles.installed import Found, look, on_host
from quarterdeck.assembly.outside import logins
from quarterdeck.delivery.order import Check, Cli
from quarterdeck.settings import Settings, child_environment

_SECONDS: Final = 10.0
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
    version = installation.version or await _asked(on_host(installation), path)
    return Cli(profile=profile.name, title=profile.title, installed=True, version=version, login=login)


async def _asked(program: Path, path: str) -> str:
    """What the program says its version is; empty where it does not say."""
    process = await asyncio.create_subprocess_exec(
        str(program),
        "--version",
        env=child_environment({"PATH": path}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return ""
    match = _VERSION.search(said.decode("utf-8", "replace"))
    return match[0] if match is not None else ""


def checks(clis: tuple[Cli, ...]) -> list[Check]:
    """One line a CLI, for `doctor`. Pure."""
    made = []
    for cli in clis:
        login = "its own login is there" if cli.login else "no login of its own"
        detail = f"{cli.version or 'of an unknown version'}; {login}" if cli.installed else cli.missing
        made.append(Check(name=cli.title, ok=cli.installed, detail=detail, fix=cli.fix, level="info"))
    return made
