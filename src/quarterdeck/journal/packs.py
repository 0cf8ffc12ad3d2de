"""Packs of a repository's objects, as the journal keeps them for workers that share no file system.

Rules
- A pack is a blob that an event names (`pack.kept`); which one leads to a commit is a read table.
"""

import json

from quarterdeck.journal.port import Journal
from quarterdeck.kernel.packs import Pack, Snapshot
from quarterdeck.store.port import Store


class Packs:
    """What is kept in one store."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    async def find(self, commit: str) -> Pack | None:
        """The pack that leads to this commit; None = there is none. Raises StoreUnavailable, NotFound where its bytes
        are gone."""
        rows = await self._store.read("pack_of", commit=commit)
        if not rows:
            return None
        return Pack(commit, tuple(json.loads(rows[0]["onto"])), await self._journal.get(rows[0]["blob"]))

    async def snapshot(self, workspace: str) -> Snapshot | None:
        """What this workspace held when that was last kept; None = nothing was kept of it. Raises as `find`."""
        rows = await self._store.read("snapshot_of", workspace=workspace)
        if not rows:
            return None
        row = rows[0]
        data = await self._journal.get(row["blob"]) if row["blob"] else b""
        return Snapshot(row["base"], row["commit_sha"], row["tree"], data)
