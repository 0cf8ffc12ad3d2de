"""What the operator allows tool servers, as it is now, and what a person sees of them.

Rules
- The approvals and the variables are read again whenever a server is started: what was taken back holds at once.
- What cannot be read allows nothing.
- Looking and approving start nothing. Only a check that was asked for by name starts an approved server, once, and ends
  it again.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import BadConfiguration, BadInput, NotFound, QuarterdeckError
from quarterdeck.kernel.servers import McpServer
from quarterdeck.settings import (
    Approval,
    Approvals,
    Settings,
    load_settings,
    operator_config,
    read_approvals,
    withheld,
    write_approvals,
)
from quarterdeck.tools.shed.board import Board, ServerView
from quarterdeck.tools.shed.choosing import words_of
from quarterdeck.tools.shed.needs import WITHOUT, Needs, flaw, missing
from quarterdeck.tools.shed.shed import Shed

_log = logging.getLogger(__name__)


class OperatorAccess:
    """Implements `Access` for one home."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, name: str, server: McpServer) -> Mapping[str, str] | None:
        """The values of the operator's variables that this server is given; None = it is not approved."""
        try:
            given = approvals(self._settings.home).given(name, server)
            if given is None:
                return None
            values = self._values()
        except BadConfiguration as error:
            _log.warning("the tool server %s counts as not approved: %s", name, error)
            return None
        return {variable: values[variable] for variable in given if variable in values}

    def _values(self) -> Mapping[str, str]:
        # A variable that was approved after this process began is in its environment all the same.
        now = load_settings()
        return now.tool_environment if now.home == self._settings.home else self._settings.tool_environment


def approvals(home: Path) -> Approvals:
    """What is approved now. Raises BadConfiguration."""
    return Approvals(read_approvals(home), operator_config(home).config.mcp)


def check_tools(access: OperatorAccess, config: RunConfig, agents: Sequence[Agent]) -> tuple[str, ...]:
    """Which tools these agents, and those whom they may call in, go without, for people. Raises BadConfiguration for
    one of these agents that names, without a `*` or a `?`, a tool of a server that may not be started."""
    without: list[str] = []
    for agent in agents:
        grave, light = missing(words_of(agent.tools), config.deck.mcp.servers, access)
        if grave:
            what, _, fix = grave[0].partition("; ")
            raise BadConfiguration(
                f"the agent {agent.name} names tools that it cannot have", why=what, fix=fix or "quarterdeck tools"
            )
        without += [f"{WITHOUT}{agent.name} goes without {said}" for said in light]
    for agent in _later(config, agents):
        grave, light = missing(words_of(agent.tools), config.deck.mcp.servers, access)
        without += [f"{WITHOUT}{agent.name} cannot be called in: {said}" for said in grave]
        without += [f"{WITHOUT}{agent.name} goes without {said}" for said in light]
    return tuple(without)


def _later(config: RunConfig, agents: Sequence[Agent]) -> list[Agent]:
    """Whom these may delegate or escalate to, and those in turn: they may never be needed."""
    seen = {agent.name for agent in agents}
    waiting, found = list(agents), list[Agent]()
    while waiting:
        agent = waiting.pop()
        for name in (*agent.delegates_to, agent.escalates_to or ""):
            if name in config.agents and name not in seen:
                seen.add(name)
                found.append(config.agents[name])
                waiting.append(config.agents[name])
    return found


def views(settings: Settings, deck: DeckConfig, origin: Sequence[str]) -> list[ServerView]:
    """All declared servers, by name. Raises BadConfiguration."""
    allowed, board, access = approvals(settings.home), Board(settings.home), OperatorAccess(settings)
    found = []
    for name, server in sorted(deck.mcp.servers.items()):
        given = allowed.given(name, server)
        start = f"mcp.servers.{name}: from "
        found.append(
            ServerView(
                name=name,
                declaration=server,
                fingerprint=server.fingerprint,
                origin=next((line.removeprefix(start) for line in origin if line.startswith(start)), ""),
                approved=given is not None,
                env=given or (),
                flaw=flaw(name, server, access),
                known=board.look(name, server.fingerprint),
            )
        )
    return found


def approve(settings: Settings, deck: DeckConfig, name: str, env: Sequence[str]) -> Approval:
    """Approve the declaration that holds now, with these of the operator's variables. Raises NotFound, BadInput."""
    server = _declared(deck, name)
    asked, models = server.variables, operator_config(settings.home).config.models
    for variable in env:
        if variable not in asked:
            raise BadInput(f"{name} does not ask for {variable}", why=f"it asks for {', '.join(asked) or 'nothing'}")
        if withheld(variable, models):
            raise BadInput(f"{variable} is not given to a tool server", why="it is a provider's key, or Quarterdeck's")
    left = [variable for variable in _needed(server) if variable not in env]
    if left:
        options = " ".join(f"--env {variable}" for variable in asked)
        raise BadInput(
            f"{name} asks for {', '.join(left)} of your environment",
            why="it is given only what you name",
            fix=f"quarterdeck tools approve {name} {options}",
        )
    approval = Approval(name=name, hash=server.fingerprint, env=tuple(sorted(set(env))))
    kept = [each for each in read_approvals(settings.home) if (each.name, each.hash) != (name, approval.hash)]
    write_approvals(settings.home, (*kept, approval))
    return approval


def revoke(settings: Settings, name: str) -> int:
    """Take back every approval of that name; how many there were. Raises NotFound."""
    there = read_approvals(settings.home)
    kept = [each for each in there if each.name != name]
    if len(kept) == len(there):
        own = operator_config(settings.home).config.mcp
        fix = "remove it from your deck.toml" if name in {*own.servers, *own.approved} else "quarterdeck tools"
        raise NotFound(f"no approval of a tool server {name} was written", fix=fix)
    write_approvals(settings.home, kept)
    return len(there) - len(kept)


async def check(shed: Shed, deck: DeckConfig, names: Sequence[str]) -> dict[str, str]:
    """Start these servers, list their tools, end them; by name, what went wrong. Raises NotFound."""
    failed: dict[str, str] = {}
    for name in names:
        _declared(deck, name)
        try:
            await shed.check(Needs("check", "check", None, deck, None), name)
        except QuarterdeckError as error:
            failed[name] = "; ".join(part for part in (str(error), error.fix) if part)
    return failed


def _declared(deck: DeckConfig, name: str) -> McpServer:
    server = deck.mcp.servers.get(name)
    if server is None:
        known = ", ".join(sorted(deck.mcp.servers)) or "none"
        raise NotFound(f"no tool server {name} is declared here", why=f"declared: {known}", fix="quarterdeck tools")
    return server


def _needed(server: McpServer) -> list[str]:
    """Variables without which it cannot be started."""
    needed = []
    for variable in server.variables:
        others = dict.fromkeys(server.variables, "")
        del others[variable]
        try:
            server.expanded(others)
        except KeyError:
            needed.append(variable)
    return needed
