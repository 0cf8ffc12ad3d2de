"""Agents that are not our loop, wired: the desks that they reach over MCP, and the harness of those that speak ACP.

Rules
- A CLI is looked for when it is needed, along the PATH that this process was started with.
- Making the parts starts nothing and loads no SDK.
"""

import shutil

from quarterdeck.agents.acp import AcpHarness, AcpPorts, Find
from quarterdeck.agents.acp_login import Logins
from quarterdeck.agents.outside import OutsideDesks
from quarterdeck.agents.profiles import GENERIC, PROFILES
from quarterdeck.agents.profiles.installed import look
from quarterdeck.agents.profiles.port import Installation, Profile
from quarterdeck.doors.mcp_door import McpDoor
from quarterdeck.doors.serve import Endpoint
from quarterdeck.gateway.port import Gateway
from quarterdeck.govern.approvals import Approvals
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.journal.port import Journal
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.settings import Settings
from quarterdeck.workplace.shipping import SYSTEM_PATH


def finder(settings: Settings) -> Find:
    """How the CLI of an agent is found on this machine."""

    def find(agent: Agent) -> tuple[Profile, Installation]:
        profile = PROFILES[agent.profile] if agent.profile else GENERIC
        if agent.command and shutil.which(agent.command[0], path=SYSTEM_PATH):
            return profile, Installation(program=agent.command[0])  # every sandbox sees it, with all that it needs
        # A definition may come from a repository: it names a program of this machine, never a place on it.
        named = agent.command[:1] if agent.command and "/" not in agent.command[0] else ()
        found = look(profile, settings.path, named)
        if found.installation is not None and (named or not agent.command):
            return profile, found.installation
        if agent.command:  # it may be there inside: in the environment, or in the repository
            return profile, Installation(program=agent.command[0])
        raise BadConfiguration(
            f"the agent `{agent.name}` cannot be started", why=found.missing, fix=profile.install or "install it"
        )

    return find


def logins(settings: Settings) -> Logins:
    """The logins of CLIs on this machine: the user's, and those that the deck has of its own."""
    return Logins(settings.user_home, settings.home / "logins")


def make_acp(
    settings: Settings,
    journal: Journal,
    clock: Clock,
    gateway: Gateway,
    desks: OutsideDesks,
    endpoint: Endpoint,
    door: McpDoor,
    approvals: Approvals,
) -> AcpHarness:
    """The ACP harness. `endpoint`: where sandboxes reach the gateway and, through `door`, the desks."""
    return AcpHarness(
        AcpPorts(
            journal=journal,
            policy=DefaultPolicy(),
            clock=clock,
            gateway=gateway,
            desks=desks,
            find=finder(settings),
            socket=endpoint.open,
            ready=door.warm,
            logins=logins(settings),
            approvals=approvals,
        )
    )
