"""Which commits a mirror has to take from the depot for one that it lacks, and in which order.

Rules
- The depot keeps what ever led to something, all that landed too; most of it is in the repository, which gives it out
  at once. So where a pack stands on something that is missing as well, the repository is asked for that first; what its
  branches hold is there afterwards. The way through the depot is gone for the rest alone.
"""

from collections.abc import Awaitable, Callable

from quarterdeck.kernel.failures import GitFailed, NotFound
from quarterdeck.kernel.packs import Pack
from quarterdeck.workplace.depot import Depot

Asked = Callable[[str], Awaitable[bool]]


async def pack_of(depot: Depot, commit: str) -> Pack | None:
    """The pack that leads to a commit; None = there is none any more. Raises StoreUnavailable."""
    try:
        return await depot.find(commit)
    except NotFound:  # its bytes are gone
        return None


async def way(depot: Depot, commit: str, has: Asked, from_origin: Asked) -> list[str]:
    """The commits whose packs lead to this one, each after what it builds on; empty where the depot has no pack of it.

    has: whether a commit is here. from_origin: brings one of the repository here; False = it is not there.
    Raises GitFailed where the way has a gap, StoreUnavailable.
    """
    if await has(commit):
        return []
    found: list[str] = []
    seen: set[str] = set()
    asked = False
    stack = [(commit, False)]
    while stack:
        one, complete = stack.pop()
        if complete:
            found.append(one)
            continue
        if one in seen or await has(one):
            continue
        seen.add(one)
        if one != commit and not asked:
            if await from_origin(one):
                continue
            asked = True
        pack = await pack_of(depot, one)
        if pack is None:
            if one == commit:
                return []
            if await from_origin(one):
                continue
            raise GitFailed(f"{one[:12]} is nowhere to be found", why=f"{commit[:12]} builds on it")
        stack.append((one, True))
        stack += [(other, False) for other in pack.onto]
    return found
