"""The port to where a repository's commits come from and where finished work goes.

Rules
- Two kinds: a repository on this machine (`here`), and one that is only reached through git's protocols (`remote`).
- Nothing of it is changed but by `land` and `note`; both are done once where they are asked for twice.
"""

from pathlib import Path
from typing import Protocol

from quarterdeck.workplace.repository import Checkout


class Origin(Protocol):
    @property
    def name(self) -> str:
        """How it is recorded: the real path of the work tree, or the URL."""
        ...

    @property
    def identity(self) -> str:
        """The same for everybody who means the same repository: the real path of the git directory, or the URL."""
        ...

    def check_writable(self) -> None:
        """Raises BadRepository where it is known already that nothing could land here."""
        ...

    async def resolve(self, rev: str) -> str:
        """The commit that `rev` means here. Raises BadRepository, BadInput."""
        ...

    async def tip(self, branch: str) -> str | None:
        """The commit of a branch; None = no such branch. Raises GitFailed."""
        ...

    async def in_the_way(self, branch: str) -> str | None:
        """A branch beside which this one cannot exist: git keeps `a/b` below `a`."""
        ...

    async def checkouts(self, branch: str) -> tuple[Checkout, ...]:
        """The work trees in which a branch is checked out."""
        ...

    async def fetch(self, mirror: Path, commit: str, pin: str) -> None:
        """Bring a commit with its history into the mirror and pin it with the ref. Raises BadRepository, GitFailed."""
        ...

    async def land(self, mirror: Path, branch: str, old: str | None, new: str, into_checkout: Path | None) -> None:
        """Move a branch from `old` (None = it must not exist) to `new`, which the mirror holds.

        Raises Conflicting where the branch is somewhere else, BadRepository where it cannot be moved before somebody
        does something, GitFailed.
        """
        ...

    async def note(self, mirror: Path, commit: str, text: str) -> None:
        """Write the note of a commit, in place of an older one of ours. Raises GitFailed."""
        ...


def inside(name: str, folder: str) -> bool:
    """Whether a branch of that name lies below one called `folder`."""
    return bool(folder) and name.startswith(f"{folder}/")
