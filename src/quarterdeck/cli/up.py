"""`up`: the server. It owns the engine, and serves the API, the dashboard and the model gateway on one port.

Rules
- It serves until it is asked to end, and then ends in order; that is no failure.
- On PostgreSQL it is one worker among others, and gives what it has begun its time as they do.
- With `--no-work` it performs nothing of the runs: others do, each `quarterdeck worker` on its machine. On PostgreSQL
  it is on record beside them all the same, for what only it may be configured for: triggers, messages, telemetry.
- Where another process owns the engine it serves all the same, and takes over when that process ends.
"""

import asyncio
from functools import partial
from typing import Annotated, Final

import typer

from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.following import tell_trouble
from quarterdeck.cli.port import DeckApi
from quarterdeck.engine.seats import Place
from quarterdeck.kernel.failures import Exit, Stop
from quarterdeck.settings import operator_outside

_OUTSIDE_AT_ONCE: Final = 16
"""Messages, results and the like that a server takes at once that performs nothing else."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def up(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others can reach needs a token.", metavar="ADDRESS")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 = any.", metavar="N", min=0, max=65535)] = 7373,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Host name under which it is asked, beside addresses and localhost; again for more."),
    ] = None,
    no_work: Annotated[
        bool, typer.Option("--no-work", help="Serve only; others work on the runs: quarterdeck worker.")
    ] = False,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Start the server: engine, HTTP API, dashboard, model gateway.

    `quarterdeck run` and the other commands then use it. Everything that it knows is in the deck's home: it may be
    killed at any time, and goes on where it was when it is started again.
    """
    call = begin(context, json, no_input)
    try:
        drive(_up(call, host, port, tuple(name or ()), work=not no_work))
    except Stop:
        call.say(
            "ended in order; runs that had not ended go on where another process works on them, with the next "
            "quarterdeck up, or with resume"
        )
    raise typer.Exit(Exit.DONE)


async def _up(call: Call, host: str, port: int, names: tuple[str, ...], *, work: bool) -> None:
    shared = call.settings.database_url is not None
    place = None if work or not shared else Place(queues=(), capacity=_OUTSIDE_AT_ONCE)
    async with call.deck(own=True, place=place) as deck:
        deck.on_trouble(partial(tell_trouble, call))
        async with deck.serving(host, port, names) as at:
            call.emit("up", {"url": at.url, "socket": str(at.socket), "home": str(call.settings.home)})
            call.data(at.url)
            if at.network:
                call.warn("what goes over this port is not encrypted: put a proxy with TLS before it, or a tunnel")
            elif not at.tokens:
                call.say(
                    "whoever can open ports of this machine can use it; with quarterdeck token add, a token is asked"
                )
            if not work:
                await _only_serve(call, deck)
            elif await deck.attended():
                beside = "this one works beside it" if shared else "this one takes over when that ends"
                call.say(f"another process works on the runs now; {beside}")
            if work:
                call.say(f"serving the deck in {call.settings.home}; Ctrl-C ends it")
            await deck.serve(operator_outside(call.settings.home).workers.drain if shared else 0.0)


async def _only_serve(call: Call, deck: DeckApi) -> None:
    """Say that it performs nothing; where the deck lies in the home's file, serve until it is asked to end."""
    if not await deck.attended():
        start = "quarterdeck worker" if call.settings.database_url is not None else "quarterdeck up"
        call.warn(f"nobody works on the runs: {start}, here or on other machines, does")
    call.say(f"serving the deck in {call.settings.home} and performing nothing of its runs; Ctrl-C ends it")
    if call.settings.database_url is None:  # who performs anything there performs everything
        await asyncio.get_running_loop().create_future()
