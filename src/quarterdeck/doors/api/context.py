"""What every route may ask for: the deck, who asks, and what the request is bound to."""

import asyncio
from typing import Annotated, Final

from fastapi import Depends, Header, Path, Request

from quarterdeck.doors.api.guard import PERSON, RESERVED
from quarterdeck.doors.api.port import Backing, Served
from quarterdeck.doors.api.trust import Person
from quarterdeck.kernel.failures import NotAllowed, StaleVersion
from quarterdeck.kernel.ids import run_stream
from quarterdeck.settings.tokens import Role


async def _backing(request: Request) -> Backing:
    found: Backing = request.app.state.backing
    return found


async def _deck(request: Request) -> Served:
    return (await _backing(request)).deck


async def _one(request: Request) -> asyncio.Semaphore:
    found: asyncio.Semaphore = request.app.state.one
    return found


async def _person(request: Request) -> Person:
    found: Person = request.scope[PERSON]
    return found


async def _admin(request: Request) -> Person:
    person = await _person(request)
    require(person, Role.ADMIN)
    return person


def require(person: Person, role: Role) -> None:
    """Raises NotAllowed."""
    if not person.may(role):
        fix = f"quarterdeck token add NAME --role {role}"
        raise NotAllowed(f"{person.name} may not do this", why=f"it needs the role {role}", fix=fix)


async def _reserved(request: Request) -> str | None:
    found: str | None = request.scope.get(RESERVED)
    return found


async def _key(
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern=r"^[!-~]+$",
            description="The same key with the same body is done once and answered alike, for a week. "
            "With another body it is refused (422).",
        ),
    ] = None,
) -> None:
    """Declared here, kept by `idempotent.Once`."""


async def _bound(
    request: Request,
    if_match: Annotated[
        str | None,
        Header(
            pattern=r'^"[0-9]{1,18}"$',
            description="The run's version as it was looked at (`ETag`, or `version` of its row); where the run has "
            "changed since, nothing is done (412).",
        ),
    ] = None,
) -> None:
    """Raises StaleVersion."""
    if if_match is None:
        return
    run = request.path_params.get("run") or request.path_params.get("attempt", "").partition(".")[0]
    deck = await _deck(request)
    stream = run_stream(run)
    now = (await deck.journal.lengths(stream)).get(stream, 0)
    if now != int(if_match.strip('"')):
        raise StaleVersion(f"{run} has changed: it is at version {now}", fix=f"quarterdeck show {run}")


Behind = Annotated[Backing, Depends(_backing)]
Deck = Annotated[Served, Depends(_deck)]
Asking = Annotated[Person, Depends(_person)]
Admin = Annotated[Person, Depends(_admin)]
OneAtATime = Annotated[asyncio.Semaphore, Depends(_one)]
"""What makes much work (looking at the machine, computing chains anew) is done once at a time."""
Reserved = Annotated[str | None, Depends(_reserved)]

RunId = Annotated[str, Path(max_length=64, pattern=r"^r-[0-9a-z]+$", description="Full id of a run.")]
TaskName = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9_-]+$", description="Id of a task of the run's plan.")]
AttemptId = Annotated[
    str, Path(max_length=400, pattern=r"^r-[0-9a-z]+(\.[a-z0-9_-]+)+$", description="Full id of an attempt.")
]

MUTATES: Final = (Depends(_key), Depends(_bound))
"""What every route that changes a run declares."""
CREATES: Final = (Depends(_key),)
