"""The user's own login of a CLI, lent to attempts of its agents.

Rules
- A login is copied into the agent's home inside, never bound. Of a file that holds more, the parts that are the login
  are copied and nothing else. When the attempt ends, the copy is removed.
- One that lies in the deck's own directory for it (`logins/PROFILE`) comes before the user's.
- Where whoever renews a token makes all copies of the old one worthless (`Login.renewed`), the user's is not touched:
  the deck needs one of its own. It is lent to one attempt at a time on this machine, and what the CLI renewed meanwhile
  is taken back when the attempt ends, or goes on after a crash. What lies there may be anything that ran in the sandbox
  wrote: the profile says what of it is a renewal, and what the deck had before is kept beside it.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import stat
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from quarterdeck.agents.port import Assignment
from quarterdeck.agents.profiles.port import Login, Profile
from quarterdeck.kernel.clock import Clock, SystemClock
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import AgentFailed, BadConfiguration, FailureClass, QuarterdeckError, SandboxFailed
from quarterdeck.workplace.port import HOME, Sandbox

_log = logging.getLogger(__name__)

_WRITE: Final = 'umask 077; mkdir -p "${1%/*}" && cat > "$1"'
_WRITE_NEW: Final = f'[ -e "$1" ] && exec cat > /dev/null; {_WRITE}'
_READ: Final = 'cd "$1" && [ -f "$2" ] && [ ! -L "$2" ] && exec cat "$2"'
_REMOVE: Final = 'cd "$1" && shift && rm -rf -- "$@"'
_SECONDS: Final = 60.0
_FILES: Final = 500
_BYTES: Final = 16 * 1024 * 1024
_RENEWED_BYTES: Final = 256 * 1024
BEFORE: Final = ".before"
"""Ends the name of what a renewed login has replaced."""
_AGAIN: Final = 0.5
"""Seconds between two looks whether another process is done with a login."""


def own_login(agent: Agent) -> bool:
    """Whether the agent uses its user's own login instead of the gateway."""
    return agent.login == "own"


class Logins:
    """The logins of this machine's user. `home`: the user's; `kept`: the deck's directory for logins of its own."""

    def __init__(self, home: Path | None, kept: Path | None = None, clock: Clock | None = None) -> None:
        self._home = home
        self._kept = kept
        self._clock = clock or SystemClock()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def place(self, profile: Profile) -> Path | None:
        """Where the login lies that is lent; None = there is none."""
        if profile.login is None:
            return None
        homes = [self._own(profile), None if profile.login.renewed is not None else self._home]
        return next((home for home in homes if home is not None and _there(home, profile.login)), None)

    def check(self, agent: Agent, profile: Profile) -> None:
        """Raises BadConfiguration where the agent uses a login and there is none to lend."""
        if not own_login(agent) or profile.login is None or self.place(profile) is not None:
            return
        own = self._own(profile)
        if profile.login.renewed is None or own is None:
            why, fix = f"none of {', '.join(profile.login.files)} is in {self._home}", "log in with the CLI itself"
        else:
            program = (profile.adapts or profile.programs or (profile.name,))[0]
            why = f"a token of {profile.title} can be renewed once: a copy of yours would log you out"
            fix = f"give agents one of their own: mkdir -p {own} && HOME={own} {program} login"
        raise BadConfiguration(
            f"the agent `{agent.name}` cannot use a login of its own",
            why=why,
            fix=f"{fix}; or leave out `login: own`",
        )

    @contextlib.asynccontextmanager
    async def turn(self, agent: Agent, profile: Profile) -> AsyncIterator[None]:
        """Wait until no other attempt has a login that cannot be shared."""
        own = self._own(profile)
        if not own_login(agent) or profile.login is None or profile.login.renewed is None or own is None:
            yield
            return
        async with self._turns[profile.name]:
            own.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(own, os.O_RDONLY | os.O_DIRECTORY)
            try:
                while not _locked(descriptor):
                    await asyncio.sleep(_AGAIN)
                yield
            finally:
                os.close(descriptor)

    async def bring(self, assignment: Assignment, profile: Profile) -> None:
        """Put the login into the agent's home. Raises AgentFailed, SandboxFailed."""
        if not own_login(assignment.agent) or profile.login is None:
            return
        if assignment.taken_up:
            await self._take_back(assignment.sandbox, profile)
        home = self.place(profile)
        if home is None:
            raise AgentFailed(
                "the CLI is not logged in", FailureClass.AUTH, why=f"there is no login of {profile.title}"
            )
        shared = profile.login.renewed is None
        # What it renewed while it worked is newer than what the user has.
        await write_home(assignment.sandbox, login_files(home, profile.login), keep=shared and assignment.taken_up)

    async def remove(self, assignment: Assignment, profile: Profile) -> None:
        """Take the login out of the agent's home; what its CLI renewed is kept where it cannot be shared."""
        if not own_login(assignment.agent) or profile.login is None:
            return
        sandbox = assignment.sandbox
        try:
            await self._take_back(sandbox, profile)
            await sandbox.exec(("sh", "-c", _REMOVE, "sh", sandbox.where(HOME), *profile.login.files), timeout=_SECONDS)
        except QuarterdeckError as error:  # the sandbox is gone, and its home with it or with the workspace
            _log.info("%s: its login was not removed: %s", assignment.attempt, error)

    async def _take_back(self, sandbox: Sandbox, profile: Profile) -> None:
        login, own = profile.login, self._own(profile)
        if login is None or login.renewed is None or own is None:
            return
        for name in login.files:
            command = ("sh", "-c", _READ, "sh", sandbox.where(HOME), name)
            found = await sandbox.exec(command, timeout=_SECONDS, output_limit=_RENEWED_BYTES)
            kept = own / name
            if found.exit_code != 0 or not _is_file(kept):
                continue
            before = kept.read_bytes()
            fresh = login.renewed(before, found.stdout, self._clock.wall())
            if fresh is not None:
                _replace(kept.with_name(f"{kept.name}{BEFORE}"), before)
                _replace(kept, fresh)

    def _own(self, profile: Profile) -> Path | None:
        return self._kept / profile.name if self._kept is not None else None


def login_files(home: Path, login: Login) -> Iterator[tuple[str, bytes]]:
    """The login below that home: paths relative to it, with what they hold. Raises AgentFailed.

    Links are followed as the user's own tools would; what is no regular file is left out.
    """
    count = size = 0
    for name in login.files:
        for path in _below(home / name):
            relative = str(path.relative_to(home))
            data = _parts(path.read_bytes(), login.parts[relative]) if relative in login.parts else path.read_bytes()
            count, size = count + 1, size + len(data)
            if count > _FILES or size > _BYTES:
                raise AgentFailed(
                    "the login of the CLI is too large to be copied", FailureClass.AUTH, why=str(home / name)
                )
            yield relative, data


async def write_home(sandbox: Sandbox, files: Iterator[tuple[str, bytes]], *, keep: bool = False) -> None:
    """Put files into the agent's home; `keep`: only those that are not there. Raises SandboxFailed."""
    for name, data in files:
        path = f"{sandbox.where(HOME)}/{name}"
        script = _WRITE_NEW if keep else _WRITE
        done = await sandbox.exec(("sh", "-c", script, "sh", path), stdin=data, timeout=_SECONDS)
        if done.exit_code != 0:
            why = done.stderr.decode("utf-8", "replace")[-500:]
            raise SandboxFailed(f"{name} cannot be written into the agent's home", why=why)


def _parts(data: bytes, keys: tuple[str, ...]) -> bytes:
    """Of a JSON object those keys; nothing of what is none."""
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    kept = {key: found[key] for key in keys if key in found} if isinstance(found, dict) else {}
    return json.dumps(kept).encode()


def _there(home: Path, login: Login) -> bool:
    return any(True for name in login.files for _ in _below(home / name))


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(path: Path, data: bytes) -> None:
    """Replace a file of this user's alone, in one step."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _below(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for folder, _, names in os.walk(path):
            yield from (file for name in sorted(names) if _is_file(file := Path(folder) / name))
    elif _is_file(path):
        yield path


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:  # a link to nothing
        return False
