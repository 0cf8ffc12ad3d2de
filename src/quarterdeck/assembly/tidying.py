"""Workspaces that other workers' runs left in this home.

Rules
- A run that ended removes its workspaces where its report was written; on any other worker they are removed here.
- Only what belongs to a run that has ended is removed. What cannot be removed now, because something is left in it that
  has not ended, keeps nothing else from being: the next look finds it again.
"""

import logging

from quarterdeck.assembly.parts import Parts
from quarterdeck.kernel.failures import SandboxFailed

_log = logging.getLogger(__name__)


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
                try:
                    await provider.discard(name)
                except (SandboxFailed, OSError) as error:
                    _log.info("%s stays for now: %s", name, error)
