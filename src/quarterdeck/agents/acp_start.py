"""From an assignment to a process that is ready to be talked to.

Rules
- Which models a key may ask for: those of the agent's tier that the CLI can speak to; where the tier has none, those of
  the other tiers; where none has, the profile's own.
- A reviewer asks models of another vendor than the author's first, where its CLI speaks to several.
- With the user's own login the key opens the desk and no model.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from quarterdeck.agents.acp_login import own_login
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.profiles.port import Context, Installation, Launch, Profile
from quarterdeck.agents.routing import vendor
from quarterdeck.gateway.wires import SPEAKERS
from quarterdeck.kernel.config import ModelSection, RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.models import windows
from quarterdeck.workplace.port import HOME, WORKSPACE, Sandbox, Session

_ON_PATH: Final = 'PATH="$1:$PATH"; export PATH; shift; exec "$@"'
SPOKEN: Final = tuple(dict.fromkeys(name for names in SPEAKERS.values() for name in names))
"""Providers whose models the gateway can pass on."""


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
                why=f"{profile.title} speaks to {' and '.join(profile.providers or SPOKEN)}",
                fix=f"name a model of {(profile.providers or SPOKEN)[0]}",
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
    return model.partition(":")[0] in (profile.providers or SPOKEN)


def window_of(assignment: Assignment, model: str) -> tuple[int | None, int | None]:
    """The model's context window and the longest answer to ask of it, tokens; None = nobody says. What is configured
    comes first; the window is never larger than the agent's own limit, and an answer may take a quarter of it. Pure."""
    provider, _, name = model.partition(":")
    section = assignment.config.deck.models.get(model, ModelSection())
    told = (section.context or windows.known(provider, name), assignment.agent.limits.context)
    size = min((tokens for tokens in told if tokens), default=None)
    longest = section.max_output or windows.longest(provider, name)
    return size, longest if size is None else min(longest or size, max(16, size // 4))


def context_of(
    assignment: Assignment, installation: Installation, models: Sequence[str], key: str, endpoint: str
) -> Context:
    """What the launch depends on, in the sandbox's own paths."""
    own, sandbox = own_login(assignment.agent), assignment.sandbox
    provider, _, name = models[0].partition(":") if models else ("", "", "")
    window, longest = window_of(assignment, models[0]) if models else (None, None)
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
        window=window,
        longest=longest,
    )


def _own_model(agent: Agent) -> str:
    return agent.model.partition(":")[2] if agent.model is not None else ""


async def start(sandbox: Sandbox, launch: Launch, installation: Installation, seconds: float) -> Session:
    """The process. `installation`: in the sandbox's own paths. Raises OSError, SandboxFailed."""
    argv = launch.argv
    if installation.path:
        argv = ("sh", "-c", _ON_PATH, "sh", ":".join(installation.path), *argv)
    env = {"HOME": sandbox.where(HOME), **launch.env}
    return await sandbox.open(argv, env=env, timeout=seconds)
