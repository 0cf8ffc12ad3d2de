"""Where the work of a new run lands: in the user's repository, or in a remote that every worker reaches.

Rules
- Whose workers have homes of their own, works on a remote: the repository's `origin`, or what `[deck] remote` names.
  Without one, what touches the repository is performed on this machine alone.
- A base that the remote's branches do not hold is kept in the store with the run, so that nobody has to push it first.
"""

from quarterdeck.assembly.engines import own_label
from quarterdeck.assembly.parts import Parts
from quarterdeck.delivery.keeping import keep
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import EventBase
from quarterdeck.kernel.failures import BadConfiguration, BadRepository
from quarterdeck.settings import operator_config
from quarterdeck.workplace.afar import BRANCHES, Afar, url_of
from quarterdeck.workplace.here import Here
from quarterdeck.workplace.mirror import PACK_BYTES, Mirror

_NONE = "none"
_USUAL = "origin"


async def landing_place(parts: Parts, local: Mirror) -> Mirror:
    """The mirror of where the work of a run on that repository lands. Raises BadConfiguration, GitFailed."""
    told = operator_config(parts.settings.home).config.deck.remote
    if told == _NONE or (told is None and not parts.workshop.shared) or not isinstance(local.origin, Here):
        return local
    if told is not None and (told.startswith("/") or ":" in told):
        return await parts.workshop.mirror(url_of(told))
    found = await local.origin.remote_url(told or _USUAL)
    if found is not None:
        return await parts.workshop.mirror(url_of(found))
    if told is None:
        return local
    raise BadConfiguration(
        f"{local.origin.name} has no remote {told}",
        why=f"[deck] remote in {parts.settings.home / 'deck.toml'} names it",
        fix=f"git -C {local.origin.name} remote add {told} URL",
    )


def reach(parts: Parts, mirror: Mirror) -> tuple[str, ...]:
    """The labels that a worker needs to reach that repository: none, or this machine's where it is a path."""
    here = isinstance(mirror.origin, Here) and parts.workshop.shared and parts.store.dialect == "postgres"
    return (own_label(),) if here else ()


def check_reach(repository: str, runs_on: tuple[str, ...]) -> None:
    """Raises BadRepository where that repository is a path of another machine."""
    if runs_on and own_label() not in runs_on:
        raise BadRepository(
            f"{repository} is on another machine",
            why=f"it has no remote, and was worked on with {', '.join(runs_on)}",
            fix="ask for it there",
        )


def target_of(mirror: Mirror, into: str, runs_on: tuple[str, ...]) -> str:
    """The id of the merge gate of a branch: one path may be another repository on another machine."""
    return ids.target_id(":".join((*runs_on, mirror.origin.identity)), into)


async def bring(parts: Parts, local: Mirror, mirror: Mirror, base: str) -> tuple[EventBase, ...]:
    """See to it that the base is where the run's workers find it; what has to be recorded with the run for that.

    Raises BadRepository, GitFailed.
    """
    if mirror is local or not isinstance(mirror.origin, Afar):
        await local.fetch(base)
        return ()
    await mirror.origin.branches(mirror.path)
    if not await mirror.has(base):
        await local.fetch(base)
        await mirror.borrow(local, base)
    try:
        onto = await mirror.beyond(base, BRANCHES)
        if onto is None:
            return ()
        if mirror.depot is None:
            return ()  # nobody works on it from elsewhere, and landing pushes it
        return (await keep(parts.journal, await mirror.packed(base, onto)),)
    except ValueError as error:
        raise BadRepository(
            f"{base[:12]} is not on {mirror.origin.name}, and too large to be kept with the run",
            why=f"{error} (the most is {PACK_BYTES} bytes)",
            fix="git push it there first",
        ) from error
