"""Workspaces that other workers' runs left in this home.

Rules
- A run that ended removes its workspaces where its report was written; on any other worker they are removed here.
- Only what belongs to a run that has ended is removed.
"""

from quarterdeck.assembly.parts import Parts


async def tidy(parts: Parts) -> None:
    """Remove what runs that have ended left here. Does nothing on a deck with one home."""
    if not parts.workshop.shared:
        return
    left = parts.ground.left()
    if not left:
        return
    ended = await parts.views.ended({name.partition(".")[0] for name in left})
    for name in left:
        if name.partition(".")[0] in ended:
            for provider in parts.providers.values():
                await provider.discard(name)
