"""The live view: a board, drawn with rich on a terminal's stderr.

Rules
- Sixteen-colour names only: the person's own theme decides. Shape beside colour.
- Redrawn four times a second at most. What happened is printed above it and stays; the view itself goes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from quarterdeck.cli.board import Board, Row, budget, rows, status_of, summary
from quarterdeck.cli.lines import Line
from quarterdeck.cli.text import BUSY_MARK, STATUS_MARK, Tone, clean, fit, pad, status_tone

_STYLE = {
    Tone.PLAIN: "",
    Tone.QUIET: "dim",
    Tone.STRONG: "bold",
    Tone.GOOD: "green",
    Tone.WARN: "yellow",
    Tone.BAD: "red",
    Tone.BUSY: "cyan",
}
_FRAME = 6
"""Lines that are not tasks, and room for the newest line above."""
_BAR = 10
_NARROW = 100
"""Columns below which names are cut, so that there is room for what happens."""


class View:
    """Renders the board anew whenever rich asks."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = time.time()
        yield Group(*draw(self._board, now, options.max_width, options.size.height))


def draw(board: Board, now: float, width: int, height: int) -> list[Text | Table]:
    """The view's parts, from top to bottom."""
    status = str(status_of(board))
    goal = clean(board.state.created.goal) if board.state.created else ""
    head = Text.assemble((board.run, "bold"), "  ", (status, _STYLE[status_tone(status)]), "  ")
    head.append(fit(goal, max(0, width - head.cell_len)))
    shown, left = rows(board, now, max(3, height - _FRAME))
    parts: list[Text | Table] = [Text(), head, _money(board, now, width), Text(), _tasks(shown, narrow=width < _NARROW)]
    if left:
        parts.append(Text(f"  {left}", style="dim"))
    return parts


def _money(board: Board, now: float, width: int) -> Text:
    share, spent = budget(board)
    full = round(share * _BAR)
    style = "red" if share >= 0.9 else "yellow" if share >= 0.7 else "green"
    text = Text.assemble(
        ("━" * full, style), ("─" * (_BAR - full), "dim"), " ", spent, (f" · {summary(board, now)}", "dim")
    )
    text.truncate(width, overflow="ellipsis")
    return text


def _tasks(shown: list[Row], *, narrow: bool) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(width=1)
    table.add_column(no_wrap=True, max_width=16 if narrow else 28, overflow="ellipsis")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, max_width=14 if narrow else 24, overflow="ellipsis")
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    for row in shown:
        style = _STYLE[status_tone(row.status)]
        agent = f"{row.agent} #{row.number}" if row.agent and row.number > 1 else row.agent
        table.add_row(
            Text(STATUS_MARK.get(row.status, BUSY_MARK), style=style),
            Text(row.task),
            Text(row.status, style=style),
            Text(clean(agent)),
            Text(row.time, style="dim"),
            Text(clean(row.note), style="dim"),
        )
    return table


def _printed(line: Line) -> Text:
    clock = time.strftime("%H:%M:%S", time.localtime(line.at))
    return Text.assemble((clock, "dim"), "  ", pad(line.who, 16), "  ", (line.text, _STYLE[line.tone]))


@contextmanager
def live(board: Board, *, no_color: bool) -> Iterator[Callable[[Line], None]]:
    """Draw the board on stderr until the block ends; gives what prints a line above it, which stays."""
    console = Console(stderr=True, no_color=no_color, highlight=False, markup=False)
    with Live(View(board), console=console, refresh_per_second=4, transient=True, redirect_stdout=False):
        yield lambda line: console.print(_printed(line))
