"""What a worker makes is kept where other workers find it.

Rules
- Only on decks whose workers have homes of their own; with one home nothing is kept and nothing is paid.
- The pack's blob is stored no later than the event that names it, and that event stands in the commit of what needs it.
"""

from quarterdeck.journal.port import Journal
from quarterdeck.kernel.events.packs import PackKept, WorkspaceKept
from quarterdeck.kernel.packs import Pack
from quarterdeck.workplace.port import Exported


async def keep(journal: Journal, pack: Pack) -> PackKept:
    """Store a pack; the event that makes it known. Raises StoreUnavailable."""
    blob = await journal.put(pack.data)
    return PackKept(commit=pack.commit, onto=pack.onto, pack_blob=blob, pack_bytes=len(pack.data))


async def keep_workspace(
    journal: Journal, workspace: str, base: str, commit: str, exported: Exported | None
) -> WorkspaceKept:
    """Store what a workspace holds; the event that makes it known. Raises StoreUnavailable.

    `commit`: what was exported, `base` where nothing differs from it, empty where it cannot be kept.
    """
    if exported is None:
        return WorkspaceKept(workspace=workspace, base=base, commit=commit)
    blob = await journal.put(exported.pack)
    size = len(exported.pack)
    return WorkspaceKept(
        workspace=workspace, base=base, commit=commit, tree=exported.tree, pack_blob=blob, pack_bytes=size
    )
