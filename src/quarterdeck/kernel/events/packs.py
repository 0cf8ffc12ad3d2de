"""What workers without a common file system hand each other: objects of a repository, kept in the store.

Rules
- They are events like all others (`quarterdeck.kernel.events`) and stand in the stream of what made the objects, in the
  commit of the event that needs them.
- An embedded deck with one home has none of them.
"""

from typing import Literal

from pydantic import Field

from quarterdeck.kernel.events.base import Blob, EventBase

ONTO_LIMIT = 64
"""Commits that one pack may build on."""

# --- between workers, in the stream of what was made ------------------------------------------------------


class PackKept(EventBase):
    """Everything of a commit that the commits `onto` do not have is in the store."""

    kind: Literal["pack.kept"] = "pack.kept"
    commit: str
    """What the pack leads to."""
    onto: tuple[str, ...] = Field(default=(), max_length=ONTO_LIMIT)
    """Commits that whoever takes the pack must have, with their history."""
    pack_blob: Blob
    """The pack, as `git pack-objects` writes it."""
    pack_bytes: int
    """Its size."""


class WorkspaceKept(EventBase):
    """What a workspace held after the steps before this one, for a worker that has to go on without it."""

    kind: Literal["workspace.kept"] = "workspace.kept"
    workspace: str
    """Name of the workspace."""
    base: str
    """The commit that the workspace began with."""
    commit: str
    """Its files as one commit on `base`; `base` itself = nothing differs from it. Empty = it could not be
    kept, so that nobody can go on from it."""
    tree: str = ""
    """The commit's tree."""
    pack_blob: Blob | None = None
    """What `base` does not have of it; None = nothing."""
    pack_bytes: int = 0
    """Its size."""


PackEvent = PackKept | WorkspaceKept
