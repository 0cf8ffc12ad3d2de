"""Which tool servers the operator approved: a file of the home, written by `quarterdeck tools approve`.

Rules
- An approval names a server and the hash of its whole declaration; another declaration of that name needs its own.
- It says by name which of the operator's variables the server is given. There is no way to give all of them.
- What the operator's own deck.toml declares is approved by that, with the variables that it names.
- A repository cannot write here: the file is the operator's, and nothing of a repository is merged into it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from quarterdeck.kernel.entities import Value
from quarterdeck.kernel.servers import McpSection, McpServer
from quarterdeck.settings.private import read_private, replace_private

APPROVED_FILE: Final = "approved-tools.json"


class Approval(Value):
    """One approved declaration."""

    name: str
    hash: str
    env: tuple[str, ...] = ()
    """Names of the operator's variables that it is given."""


class _File(Value):
    v: int = 1
    approved: tuple[Approval, ...] = ()


_FILE: Final = TypeAdapter(_File)


@dataclass(frozen=True, slots=True)
class Approvals:
    """Everything that the operator approved."""

    written: tuple[Approval, ...]
    operator: McpSection
    """`[mcp]` of the operator's own deck.toml."""

    def given(self, name: str, server: McpServer) -> tuple[str, ...] | None:
        """Names of the variables that this server may have; None = it is not approved."""
        own = self.operator.servers.get(name)
        if own is not None and own == server:
            return server.variables
        fingerprint = server.fingerprint
        for approval in self.written:
            if approval.name == name and approval.hash == fingerprint:
                return approval.env
        return () if self.operator.approved.get(name) == fingerprint else None

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of all variables that some server may have."""
        names = {name for approval in self.written for name in approval.env}
        return tuple(sorted(names.union(*(server.variables for server in self.operator.servers.values()))))


def read_approvals(home: Path) -> tuple[Approval, ...]:
    """What is in the file; nothing where there is none. Raises BadConfiguration."""
    found = read_private(home / APPROVED_FILE, _FILE, "quarterdeck tools approve")
    return found.approved if found is not None else ()


def write_approvals(home: Path, approved: Iterable[Approval]) -> None:
    """Replace the file, whole or not at all. Raises BadConfiguration."""
    replace_private(home / APPROVED_FILE, _File(approved=tuple(approved)).model_dump_json(indent=2) + "\n")
