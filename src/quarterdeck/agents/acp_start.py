"""From an assignment to a process that is ready to be talked to.

Rules
- Files of the launch, and of the user's own login where it is used, are written into the agent's home inside, before
  anything is started; of the login, copies: what an agent does to them nobody else sees.
- Which models a key may ask for: those of the agent's tier that the CLI can speak to; where the tier has none, those of
  the other tiers; where none has, the profile's own.
- A reviewer asks models of another vendor than the author's first, where its CLI speaks to several.
- With the user's own login the key opens the desk and no model.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from quarterdeck.agents.port import Assignment
from quarterdeck.agents.profiles.port import Context, Installation, Launch, Login, Profile
from quarterdeck.agents.routing import vendor
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import AgentFailed, BadConfiguration, FailureClass, SandboxFailed
from quarterdeck.workplace.port import HOME, WORKSPACE, Sandbox, Session

_WRITE: Final = 'umask 077; mkdir -p "${1%/*}" && cat > "$1"'
_WRITE_NEW: Final = f'[ -e "$1" ] && exec cat > /dev/null; {_WRITE}'
_ON_PATH: Final = 'PATH="$1:$PATH"; export PATH; shift; exec "$@"'
_WRITE_SECONDS: Final = 60.0
_LOGIN_FILES: Final = 500
_LOGIN_BYTES: Final = 16 * 1024 * 1024


def own_login(agent: Agent) -> bool:
    """Whether the agent uses its user's own login instead of the gateway."""
    return agent.login == "own"


def models_of(agent: Agent, profile: Profile, config: RunConfig, apart_from: str = "") -> tuple[str, ...]:
    """The models that the agent's key may ask for, the first one preferred; those of the vendor `apart_from` come last.

    Raises BadConfiguration. Pure.
    """
    if own_login(agent):
        return ()
    if agent.model is not None:
        if not _speaks(profile, agent.model):
            raise BadConfiguration(
                f"the agent `{agent.name}` cannot use {agent.model}",
                why=f"{profile.title} speaks to {' and '.join(profile.providers)}",
                fix=f"name a model of {profile.providers[0]}",
            )
        return (agent.model,)
    tiers = config.deck.tiers
    for names in (tiers.get(agent.tier, ()), [name for tier in tiers.values() for name in tier], profile.models):
        if found := tuple(dict.fromkeys(name for name in names if _speaks(profile, name))):
            return tuple(sorted(found, key=lambda name: vendor(name) == apart_from))
    wanted = profile.providers[0] if profile.providers else "provider"
    raise BadConfiguration(
        f"the agent `{agent.name}` has no model",
        why=f"no tier names a model that {profile.title} speaks to",
        fix=f'deck.toml: [tiers] {agent.tier} = ["{wanted}:model"]',
    )


def _speaks(profile: Profile, model: str) -> bool:
    return not profile.providers or model.partition(":")[0] in profile.providers


def context_of(
    assignment: Assignment, installation: Installation, models: Sequence[str], key: str, endpoint: str
) -> Context:
    """What the launch depends on, in the sandbox's own paths."""
    own, sandbox = own_login(assignment.agent), assignment.sandbox
    provider, _, name = models[0].partition(":") if models else ("", "", "")
    where = sandbox.where
    seen = replace(
        installation,
        program=where(installation.program),
        path=tuple(where(place) for place in installation.path),
        companion=where(installation.companion),
    )
    return Context(
        installation=seen,
        home=where(HOME),
        workspace=where(WORKSPACE),
        endpoint=None if own else endpoint,
        key="" if own else key,
        # By its own name: clients know models' windows, and which tools and prompts suit them.
        model=_own_model(assignment.agent) if own else name,
        provider=provider,
        arguments=assignment.agent.command[1:],
    )


def _own_model(agent: Agent) -> str:
    return agent.model.partition(":")[2] if agent.model is not None else ""


def login_files(home: Path, login: Login) -> Iterator[tuple[str, bytes]]:
    """The user's login: paths relative to the home, with what they hold. Raises AgentFailed.

    Links are followed as the user's own tools would; what is no regular file is left out.
    """
    count = size = 0
    for name in login.files:
        for path in _below(home / name):
            data = path.read_bytes()
            count, size = count + 1, size + len(data)
            if count > _LOGIN_FILES or size > _LOGIN_BYTES:
                raise AgentFailed(
                    "the login of the CLI is too large to be copied", FailureClass.AUTH, why=str(home / name)
                )
            yield str(path.relative_to(home)), data
    if not count:
        raise AgentFailed(
            "the CLI is not logged in",
            FailureClass.AUTH,
            why=f"none of {', '.join(login.files)} is in {home}",
            fix="log in with the CLI itself, or leave out `login: own`",
        )


def check_login(home: Path, login: Login, agent: Agent) -> None:
    """Raises BadConfiguration where there is no login to copy."""
    try:
        next(login_files(home, login))
    except AgentFailed as error:
        raise BadConfiguration(
            f"the agent `{agent.name}` cannot use your own login", why=str(error), fix=error.fix
        ) from error


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


async def write_home(sandbox: Sandbox, files: Iterator[tuple[str, bytes]], *, keep: bool = False) -> None:
    """Put files into the agent's home; `keep`: only those that are not there. Raises SandboxFailed."""
    for name, data in files:
        path = f"{sandbox.where(HOME)}/{name}"
        script = _WRITE_NEW if keep else _WRITE
        done = await sandbox.exec(("sh", "-c", script, "sh", path), stdin=data, timeout=_WRITE_SECONDS)
        if done.exit_code != 0:
            why = done.stderr.decode("utf-8", "replace")[-500:]
            raise SandboxFailed(f"{name} cannot be written into the agent's home", why=why)


async def start(sandbox: Sandbox, launch: Launch, installation: Installation, seconds: float) -> Session:
    """The process. `installation`: in the sandbox's own paths. Raises OSError, SandboxFailed."""
    argv = launch.argv
    if installation.path:
        argv = ("sh", "-c", _ON_PATH, "sh", ":".join(installation.path), *argv)
    env = {"HOME": sandbox.where(HOME), **launch.env}
    return await sandbox.open(argv, env=env, timeout=seconds)
