"""Working on a run while showing what happens.

Rules
- On a terminal a live view, otherwise a plain line per change on stderr, with `--json` an object per event on stdout.
- The run's own end is not shown as an event with `--json`: the line `run.finished`, printed by the caller, is its end.
- Who owns the deck goes on until the other runs are at rest too, and says so instead of standing there in silence.
- What keeps the work from going on is said when it begins and when it is over; the work waits and is not lost.
- Where nobody reads stdout any more, the work is ended in order, like by Ctrl-C.
- Whoever follows sees everything up to the run's end, also where another process works on it.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import cast

from quarterdeck.cli import registry
from quarterdeck.cli.board import Board
from quarterdeck.cli.call import Call
from quarterdeck.cli.lines import Line
from quarterdeck.cli.port import DeckApi
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import RunStatus
from quarterdeck.kernel.failures import QuarterdeckError, Stop
from quarterdeck.kernel.ids import run_stream

_AT_REST = (RunStatus.PAUSED, RunStatus.WAITING)
_PATIENCE_SECONDS = 1.0
"""How long a finished run's process may linger before it says why."""

_DRAIN_SECONDS = 5.0
"""How long the last events may take to be read after the work has ended."""


async def follow(call: Call, deck: DeckApi, run: str, *, since: float = 0.0) -> None:
    """Work on the run and show it; returns when it is finished, waiting or paused.

    `since`: of what happened before (seconds since the epoch), the view shows the outcome but no line is printed.
    """
    board = Board(run)
    moved = asyncio.Event()
    deck.on_trouble(partial(tell_trouble, call))
    with _view(call, board) as log:
        shown = asyncio.create_task(_show(call, deck, board, moved, log, since))
        worked = asyncio.create_task(deck.work(run))
        stays = asyncio.create_task(_say_why_it_stays(call, deck, board, moved))
        try:
            await asyncio.wait((shown, worked), return_when=asyncio.FIRST_COMPLETED)
            if shown.done():
                try:
                    await shown  # showing does not end by itself: it failed, and that is the error to report
                except BrokenPipeError as error:
                    raise Stop("nobody reads the output any more") from error
            await worked
            await _catch_up(deck, board, moved)
        finally:
            for task in (shown, worked, stays):
                task.cancel()
            await asyncio.gather(shown, worked, stays, return_exceptions=True)


def _view(call: Call, board: Board) -> AbstractContextManager[Callable[[Line], None]]:
    if not call.live:
        return nullcontext(partial(call.log, out=False))
    # By name: what draws on a terminal takes a tenth of a start, and most runs have no terminal.
    live = registry.load("quarterdeck.cli.live", "live", "The live view cannot be shown")
    return cast("AbstractContextManager[Callable[[Line], None]]", live(board, no_color=call.settings.no_color))


def tell_trouble(call: Call, error: QuarterdeckError | None) -> None:
    """Say what keeps the work from going on, or that it goes on again."""
    if error is None:
        call.say("the database is back; the work goes on")
    else:
        call.warn(f"{error}. The work waits. {error.fix}".rstrip())


async def _say_why_it_stays(call: Call, deck: DeckApi, board: Board, moved: asyncio.Event) -> None:
    while board.state.finished is None:
        moved.clear()
        await moved.wait()
    await asyncio.sleep(_PATIENCE_SECONDS)
    views = [view for view in await deck.views.runs() if view.run != board.run]
    others = [view.run for view in views if not view.status.finished and view.status not in _AT_REST]
    if others:
        some = ", ".join(others[:3])
        call.say(f"{board.run} is finished; this process still works on {some}. Ctrl-C leaves them to be resumed.")


async def _catch_up(deck: DeckApi, board: Board, moved: asyncio.Event) -> None:
    """Wait until everything that is in the run's stream now has been shown."""
    left = await deck.journal.read(run_stream(board.run), after=board.seq)
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left and board.seq < left[-1].seq:
                moved.clear()
                await moved.wait()
    except TimeoutError:
        return  # the result is printed all the same; only lines about the way there are missing


async def _show(
    call: Call, deck: DeckApi, board: Board, moved: asyncio.Event, log: Callable[[Line], None], since: float
) -> None:
    """Show every record; `moved` is set after each."""
    async for record in deck.events(board.run):
        line = board.take(record)
        if isinstance(record.event, e.RunPlanned):
            board.plan(await deck.views.tasks(board.run))
        if not isinstance(record.event, e.RunFinished):
            call.emit("event", as_object(record, board.run))
        if line is not None and line.at >= since and not call.json:
            log(line)
        moved.set()


def as_object(record: Record, run: str) -> dict[str, object]:
    """A record as `--json` prints it."""
    return {
        "run": run,
        "stream": record.stream,
        "seq": record.seq,
        "at": record.at,
        "event": record.event.model_dump(mode="json", by_alias=True),
    }
