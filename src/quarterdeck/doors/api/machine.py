"""The deck itself over HTTP: who asks, its configuration, its machine, its journal."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query, Request, Response

from quarterdeck import __version__
from quarterdeck.board.answers import ChainFaultRow, ChainStatus, CostBy, Costs, Found, Verified
from quarterdeck.doors.api import shapes
from quarterdeck.doors.api.context import Asking, Behind, Deck, OneAtATime
from quarterdeck.doors.api.redaction import redacted
from quarterdeck.kernel.config import RunConfig

router: Final = APIRouter(tags=["deck"])

MOST_RECORDS: Final = 2**53 - 1
"""Beyond that JavaScript cannot count."""
Repository = Annotated[
    str, Query(pattern=r"^/[^\x00]*$", max_length=4096, description="A git repository on the server's machine.")
]


@router.get("/me")
async def me(person: Asking, behind: Behind, request: Request) -> shapes.Me:
    """Who is asking, as the server sees it."""
    session = behind.sessions.find(request.headers.get("cookie", ""), behind.keys) is not None
    return shapes.Me(name=person.name, role=person.role, deck=__version__, session=session)


@router.post("/session")
async def enter(asked: shapes.Entering, behind: Behind, response: Response) -> shapes.Me:
    """Exchange a token for a cookie that a browser sends by itself; 401 where the token is unknown."""
    person = behind.keys.find(asked.token)
    if person is None:
        raise HTTPException(401, "the token is unknown")
    response.headers["set-cookie"] = behind.sessions.begin(asked.token)
    return shapes.Me(name=person.name, role=person.role, deck=__version__, session=True)


@router.delete("/session", status_code=204)
async def leave(behind: Behind, request: Request, response: Response) -> None:
    """End the session of the cookie that the request carries. Whoever has none is not told."""
    response.headers["set-cookie"] = behind.sessions.end(request.headers.get("cookie", ""))


@router.get("/config")
async def config(deck: Deck, repository: Repository) -> shapes.Configured:
    """What a new run in that repository would have now."""
    return configured(await deck.current(Path(repository)))


def configured(found: RunConfig) -> shapes.Configured:
    """A run's configuration as it is shown."""
    return shapes.Configured(
        config=redacted(found.deck),
        origin=found.origin,
        agents=tuple(found.agents.values()),
        default_agent=found.default_agent,
    )


@router.get("/definitions")
async def definitions(deck: Deck, repository: Repository) -> shapes.Definitions:
    """The agents of a repository, and the command lines of agents on the server's machine."""
    found = await deck.current(Path(repository))
    return shapes.Definitions(agents=tuple(found.agents.values()), clis=await deck.clis())


@router.get("/tools")
async def tools(deck: Deck, repository: Repository) -> tuple[shapes.Tool, ...]:
    """The tool servers that are declared for a repository. Starts nothing; they are approved on the command line."""
    return tuple(
        shapes.Tool(
            name=view.name,
            fingerprint=view.fingerprint,
            origin=view.origin,
            approved=view.approved,
            env=view.env,
            flaw=view.flaw,
        )
        for view in await deck.tool_servers(Path(repository))
    )


@router.get("/doctor")
async def doctor(deck: Deck, one: OneAtATime) -> shapes.Doctor:
    """Look at the server's machine; every problem comes with its fix."""
    async with one:
        checks = await deck.probe()
    return shapes.Doctor(ok=not any(not each.ok and each.level == "error" for each in checks), checks=tuple(checks))


@router.get("/costs")
async def costs(
    behind: Behind,
    by: Annotated[CostBy, Query(description="What one row is about.")] = "run",
    days: Annotated[int, Query(ge=1, le=366, description="UTC, today included.")] = 7,
) -> Costs:
    """What was spent, against what may be spent."""
    return await behind.shown.money.costs(by, days)


@router.get("/events", tags=["audit"])
async def events(
    behind: Behind,
    stream: Annotated[str, Query(max_length=400, description="A stream's name, or its beginning.")] = "",
    kind: Annotated[str, Query(max_length=100, description="As events name it.")] = "",
    q: Annotated[str, Query(max_length=400, description="A text that the record holds.")] = "",
    before: Annotated[int | None, Query(ge=1, le=MOST_RECORDS, description="`before` of the answer before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Found:
    """Search the journal, the newest first."""
    return await behind.shown.audit.events(stream=stream, kind=kind, text=q, before=before, limit=limit)


@router.get("/audit", tags=["audit"])
async def chains(behind: Behind) -> ChainStatus:
    """What is known of the journal's chains without computing them anew."""
    return await behind.shown.audit.chains()


@router.post("/audit/verify", tags=["audit"])
async def verify(asked: shapes.Verifying, deck: Deck, one: OneAtATime) -> Verified:
    """Compute every chain of the journal anew and hold it against the anchored heads."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with one:
        if asked.run is None:
            parts = [await deck.verify()]
        else:
            await deck.views.run(asked.run)
            parts = [await deck.verify(f"run/{asked.run}"), await deck.verify(f"attempt/{asked.run}.")]
    faults = (ChainFaultRow(stream=f.stream, seq=f.seq, problem=f.problem) for part in parts for f in part.faults)
    return Verified(
        streams=sum(part.streams for part in parts),
        records=sum(part.records for part in parts),
        faults=tuple(faults),
        seconds=round(loop.time() - began, 3),
    )
