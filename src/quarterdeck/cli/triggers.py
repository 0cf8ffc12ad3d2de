"""`triggers`: what may start runs from outside, when it last did, and why it last did not.

Rules
- Looking changes nothing and needs no network. `fire` takes the way of a real message, but for its signature.
- What came from outside is printed without anything that steers a terminal.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from quarterdeck.cli.amounts import duration
from quarterdeck.cli.call import Call, Json, NoInput, begin, drive
from quarterdeck.cli.runs import show_published
from quarterdeck.cli.text import Column, Tone, clean
from quarterdeck.engine.seats import Place
from quarterdeck.journal.firings import FiringView
from quarterdeck.kernel.failures import BadInput, Exit
from quarterdeck.settings import MAX_FILE
from quarterdeck.triggers.port import TriggerView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
triggers = typer.Typer(rich_markup_mode=None, add_completion=False, help="What may start runs from outside.")
app.add_typer(triggers, name="triggers")

_COLUMNS = tuple(Column(title) for title in ("TRIGGER", "SOURCE", "REPOSITORY", "NEXT", "LAST", "REFUSED"))


@triggers.callback(invoke_without_command=True)
def listed(context: typer.Context, json: Json = False, no_input: NoInput = False) -> None:
    """List the triggers of deck.toml: when the clock fires next, the last run, the last refusal."""
    if context.invoked_subcommand is None:
        drive(_list(begin(context, json, no_input)))


@triggers.command()
def fire(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The trigger.", metavar="NAME")],
    payload: Annotated[
        Path | None,
        typer.Option(help="The message's body: a file with JSON.", metavar="FILE", show_default=False),
    ] = None,
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Try a trigger with a message of your own. It counts like any other, and its run is stored."""
    raise typer.Exit(drive(_fire(begin(context, json, no_input), name, payload)))


@triggers.command()
def publish(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="Id of the run, or its beginning.", metavar="RUN")],
    json: Json = False,
    no_input: NoInput = False,
) -> None:
    """Push a finished run's branch and open its pull request, where that failed. What is there is found again."""
    raise typer.Exit(drive(_publish(begin(context, json, no_input), run)))


async def _list(call: Call) -> None:
    async with call.deck() as deck:
        found = await deck.outside.views()
        attended = await deck.outside.attended()
    now = time.time()
    for view in found:
        call.emit("trigger", view)
    if found:
        call.table(_COLUMNS, [_row(view, now) for view in found])
    for view in found:
        if view.flaw:
            call.warn(f"{view.name}: {view.flaw}")
        if view.refused is not None and not call.json:
            call.say(f"{view.name}: last refused: {view.refused.reason}", Tone.QUIET)
    if not found:
        call.say("there are no triggers: [triggers.NAME] in deck.toml of the deck's home")
    elif not attended:
        call.say("nothing serves the deck now, so nothing fires: quarterdeck up", Tone.WARN)


def _row(view: TriggerView, now: float) -> tuple[str, ...]:
    coming = f"in {duration(view.next_at - now)}" if view.next_at is not None else ""
    last = f"{view.last.run}, {_ago(view.last, now)}" if view.last is not None else "never"
    refused = f"{view.refused.code}, {_ago(view.refused, now)}" if view.refused is not None else ""
    return view.name, view.source, clean(view.repository), coming, last, refused


def _ago(view: FiringView, now: float) -> str:
    return f"{duration(max(now - view.at, 0.0))} ago"


async def _fire(call: Call, name: str, payload: Path | None) -> int:
    text = _text(payload) if payload is not None else None
    async with call.deck(place=Place(queues=())) as deck:
        found = await deck.outside.fire(name, text)
        attended = await deck.attended()
    if found is None:
        call.say("it is on record; whoever works on the deck next decides about it: quarterdeck up")
        return Exit.WAITING
    call.emit("trigger.fired", found)
    if found.status == "refused":
        call.say(f"refused ({found.code}): {found.reason}", Tone.BAD)
        return Exit.DENIED
    if found.status == "held":
        call.say(f"it waits: {found.reason}", Tone.WARN)
        return Exit.WAITING
    call.data(found.run)
    call.say(f"see quarterdeck show {found.run}" if attended else f"go on with: quarterdeck resume {found.run}")
    return Exit.DONE


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read", why=error.strerror or str(error), fix="--payload FILE") from error
    if len(data) > MAX_FILE:
        raise BadInput(f"{path} is longer than {MAX_FILE} bytes", fix="send a smaller message")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text", fix="--payload FILE, with JSON") from error


async def _publish(call: Call, given: str) -> int:
    async with call.deck(place=Place(queues=())) as deck:
        kind, run = await deck.resolve(given)
        if kind != "run":
            raise BadInput(f"{run} is a {kind}, not a run", fix=f"quarterdeck show {run}")
        call.run = run
        wrong = await deck.outside.publish(run)
        url, _ = await deck.outside.published(run)
        call.emit("run.published", {"run": run, "url": url, "ok": not wrong, "reason": wrong})
        await show_published(call, deck, run)
    return Exit.FAILED if wrong else Exit.DONE
