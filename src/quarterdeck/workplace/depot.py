"""Where workers that share no file system find objects that one of them made.

Rules
- A pack leads from commits that are known elsewhere (in the repository, or by other packs) to one commit.
- A deck with one home has no depot: what its mirror does not hold is in the user's repository or nowhere.
"""

from typing import Protocol

from quarterdeck.kernel.packs import Pack, Snapshot


class Depot(Protocol):
    async def find(self, commit: str) -> Pack | None:
        """The pack that leads to this commit; None = there is none. Raises StoreUnavailable, NotFound where its bytes
        are gone."""
        ...

    async def snapshot(self, workspace: str) -> Snapshot | None:
        """What this workspace held when that was last kept; None = nothing was kept of it. Raises as `find`."""
        ...
