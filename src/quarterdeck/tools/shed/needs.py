"""What an agent needs of outside servers, and what stands against it before anything is started.

Rules
- Looking starts nothing: what is declared is compared with what the operator allows, and that is all.
- What a definition names without a `*` or a `?` has to be there; what is missing keeps its agent from working. The rest
  is said, and the agent goes without.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.servers import McpServer
from quarterdeck.tools.shed import choosing
from quarterdeck.tools.shed.choosing import Wanted
from quarterdeck.workplace.port import Sandbox

WITHOUT: Final = "tools: "
"""How a line of a configuration's `origin` begins that says which tools an agent goes without."""


@dataclass(frozen=True, slots=True)
class Needs:
    """For whom tools are wanted."""

    run: str
    attempt: str
    tools: tuple[str, ...] | None
    """The definition's `tools`."""
    deck: DeckConfig
    sandbox: Sandbox | None
    """The agent's; None = there is no agent, and nothing that runs beside one is started."""


class Access(Protocol):
    """What the operator allows, as it is now."""

    def __call__(self, name: str, server: McpServer) -> Mapping[str, str] | None:
        """The values of his variables that this server is given; None = it is not approved."""
        ...


def wants_servers(tools: Sequence[str] | None) -> bool:
    """Whether a definition's `tools` names any outside server."""
    return any(word.startswith(choosing.PREFIX) for word in tools or ())


def missing(words: Sequence[Wanted], servers: Mapping[str, McpServer], access: Access) -> tuple[list[str], list[str]]:
    """What keeps an agent from working, and what it will only have to do without; each a sentence with the command that
    mends it. Starts nothing."""
    grave: list[str] = []
    light: list[str] = []
    for word in words:
        names = [name for name in servers if word.serves(name)]
        if not names:
            known = f"declared: {', '.join(sorted(servers))}" if servers else "none is declared"
            (light if word.optional else grave).append(f"{word.word}: there is no such tool server ({known})")
        for name in names:
            if said := flaw(name, servers[name], access):
                (light if word.optional else grave).append(f"{word.word}: {said}")
    return list(dict.fromkeys(grave)), list(dict.fromkeys(light))


def flaw(name: str, server: McpServer, access: Access) -> str:
    """Why this server cannot be started as things are; empty = nothing is known against it."""
    values = access(name, server)
    if values is None:
        return f"the tool server `{name}` is not approved; quarterdeck tools approve {name}"
    try:
        server.expanded(values)
    except KeyError as error:
        return lacks(name, str(error.args[0]))
    return ""


def lacks(name: str, variable: str) -> str:
    return (
        f"the tool server `{name}` needs {variable}, which is not set or was not given to it; "
        f"export {variable}=…, quarterdeck tools approve {name} --env {variable}"
    )
