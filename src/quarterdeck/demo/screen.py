"""How the demo looks: what happens, line by line on stderr, and the report on stdout.

Rules
- Names of the sixteen colours only, so that the person's theme decides; a mark beside every colour.
- Text is wrapped with a hanging indent at any width; off a terminal nothing moves and nothing is coloured.
- On a terminal one line at the bottom says what is going on at this moment.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from quarterdeck.demo.proof import Proof
from quarterdeck.demo.story import Kind, Mark, Said, Story
from quarterdeck.kernel.entities import to_usd

_MARKS: Final = {
    Mark.PLAIN: ("·", "dim"),
    Mark.WORK: ("▸", "cyan"),
    Mark.GOOD: ("✓", "green"),
    Mark.TROUBLE: ("!", "yellow"),
    Mark.KILL: ("✗", "red"),
}
_WIDEST: Final = 110
"""Columns: longer lines are not easier to read."""

Teller = Callable[[Said], None]


def console(*, stderr: bool, no_color: bool) -> Console:
    """A console for one of the streams."""
    made = Console(stderr=stderr, no_color=no_color, highlight=False, markup=False, emoji=False)
    made.width = min(made.width, _WIDEST)
    return made


class _Now:
    """The line at the bottom."""

    def __init__(self, story: Story, began: float) -> None:
        self._story = story
        self._began = began

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        story = self._story
        busy = sorted(name for name, task in story.state.tasks.items() if task.running)
        parts = [
            f"{time.monotonic() - self._began:4.0f}s",
            f"{len(story.merged)}/{story.tasks} merged" if story.tasks else "planning",
            f"${to_usd(story.spent_nusd):.4f}",
            f"working on {', '.join(busy)}" if busy else "",
        ]
        line = Text(" · ".join(part for part in parts if part), style="dim", no_wrap=True, overflow="ellipsis")
        yield line


@contextmanager
def telling(story: Story, *, no_color: bool) -> Iterator[Teller]:
    """What prints one line of the way on stderr, with the time since the beginning."""
    screen = console(stderr=True, no_color=no_color)
    began = time.monotonic()

    def tell(said: Said) -> None:
        mark, style = _MARKS[said.mark]
        row = Table.grid(padding=(0, 1, 0, 0))
        row.add_column(width=5, justify="right", style="dim")
        row.add_column(width=1, style=style)
        row.add_column(width=11, no_wrap=True)
        row.add_column(ratio=1, overflow="fold")
        row.add_row(f"{time.monotonic() - began:.1f}", mark, said.who, Text(said.text, style=_tone(said.mark)))
        screen.print(row)

    if screen.is_terminal:
        with Live(_Now(story, began), console=screen, refresh_per_second=4, transient=True, redirect_stdout=False):
            yield tell
    else:
        yield tell


def _tone(mark: Mark) -> str:
    return {Mark.KILL: "red", Mark.TROUBLE: "yellow"}.get(mark, "")


INTRODUCTION: Final = (
    "THE MODEL IS SCRIPTED in this demo: a server on this machine speaks the wire formats of Anthropic and OpenAI and "
    "plays a planner, implementers and a reviewer from a file, faults included. No key is needed and nothing is spent. "
    "Everything else is real: git, sandboxes, checks, the merge gate, the journal, and kill -9."
)


def introduce(*, no_color: bool) -> None:
    """What this is, before it begins."""
    screen = console(stderr=True, no_color=no_color)
    screen.print(Text("Quarterdeck demo", style="bold"))
    screen.print(INTRODUCTION)
    screen.print()


# --- the report -----------------------------------------------------------------------------------------------


def report(story: Story, proof: Proof, seconds: float, kept: str, *, no_color: bool) -> None:
    """The report for people, on stdout."""
    screen = console(stderr=False, no_color=no_color)
    _heading(screen, "What went wrong on the way, and what came of it")
    screen.print(_incidents(story))
    _heading(screen, f"Merged onto {proof.result.target.branch}")
    screen.print(_merged(proof))
    _heading(screen, "Looked at by the demo itself, not taken from what agents say")
    screen.print(_claims(story, proof))
    _heading(screen, "Cost, at the scripted model's prices")
    screen.print(_cost(story, proof, seconds))
    _heading(screen, "The same on your own repository")
    for command, why in _next():
        screen.print(Text.assemble("  ", (command, "bold"), (f"   # {why}", "dim")), soft_wrap=True)
    screen.print()
    screen.print(Text.assemble("The model was scripted. ", ("Everything else you saw was real.", "dim")))
    if kept:
        screen.print(f"Kept: {kept}", soft_wrap=True)


def _heading(screen: Console, text: str) -> None:
    screen.print()
    screen.print(Text(text, style="bold"))


def _grid(*widths: int | None) -> Table:
    """Columns of these widths, indented; None = what is left."""
    table = Table.grid(padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(width=1)
    for width in widths:
        table.add_column(width=width, ratio=1 if width is None else None, overflow="fold")
    return table


def _verdict(ok: bool) -> Text:
    return Text("✓", style="green") if ok else Text("✗", style="red")


_TITLES: Final = {
    Kind.REJECTED: "bad patch",
    Kind.REVIEWED: "review",
    Kind.CONFLICT: "conflict",
    Kind.OVERLOADED: "529",
    Kind.CUT: "cut stream",
    Kind.KILLED: "kill -9",
}


def _incidents(story: Story) -> Table:
    table = _grid(1, 10, None)
    for kind in Kind:
        incident = story.of(kind)
        if incident is None:
            table.add_row("", _verdict(False), _TITLES[kind], "did not happen")
            continue
        who = "" if kind is Kind.KILLED else f"{_short(story, incident.who)}: "
        table.add_row("", _verdict(bool(incident.mended)), _TITLES[kind], f"{who}{incident.what}")
        table.add_row("", "", "", Text(f"→ {incident.mended or 'not mended'}"))
        table.add_row("", "", "", Text(f"  {_short(story, incident.where)}", style="dim"))
    return table


def _short(story: Story, place: str) -> str:
    return place.removeprefix("attempt/").removeprefix(f"{story.run}.")


def _merged(proof: Proof) -> Table:
    table = _grid(8, 12, None)
    for entry in proof.log:
        table.add_row("", Text(entry.commit, style="yellow"), entry.task, entry.subject)
    return table


def _claims(story: Story, proof: Proof) -> Table:
    table = _grid(1, 17, None)
    for claim in proof.claims:
        table.add_row("", _verdict(claim.ok), claim.name, claim.found)
    table.add_row("", _verdict(story.peak >= 4), "at the same time", f"{story.peak} tasks were worked on at once")
    return table


def _cost(story: Story, proof: Proof, seconds: float) -> Table:
    table = _grid(8, None)
    usage, cost = proof.result.tokens, proof.result.cost_usd
    table.add_row("", f"${cost:.4f}", f"in the ledger, of a budget of ${to_usd(story.state.budget_nusd):.2f}")
    reserve = "a call that was cut off or killed counts with all it may have cost"
    table.add_row(
        "", f"${proof.billed_usd:.4f}", f"is what the server would have billed for {proof.requests} calls; {reserve}"
    )
    share = usage.cache_read / usage.prompt if usage.prompt else 0.0
    table.add_row(
        "",
        f"{usage.prompt / 1000:.1f}k",
        f"tokens in, {share:.0%} of them from the cache; {usage.output / 1000:.1f}k out",
    )
    table.add_row("", f"{seconds:.0f} s", f"from nothing to here, {story.tool_calls} tool calls in sandboxes")
    return table


def _next() -> tuple[tuple[str, str], ...]:
    return (
        ("export ANTHROPIC_API_KEY=…", "or OPENAI_API_KEY, or a local model: docs/models"),
        ("cd YOUR/REPOSITORY && quarterdeck init", "writes .quarterdeck/deck.toml: look at it, commit it"),
        ('quarterdeck run "WHAT YOU WANT"', "work lands on a branch of its own"),
    )


def as_json(story: Story, proof: Proof, seconds: float, kept: str, ok: bool) -> str:
    """The report for scripts, one object."""
    incidents = {kind.name.lower(): _object(story, kind) for kind in Kind}
    body: dict[str, Any] = {
        "v": 1,
        "kind": "demo",
        "ok": ok,
        "model": "scripted",
        "run": story.run,
        "incidents": incidents,
        "merged": [asdict(entry) for entry in proof.log],
        "checks": [asdict(claim) for claim in proof.claims],
        "parallel": story.peak,
        "cost_usd": proof.result.cost_usd,
        "billed_usd": proof.billed_usd,
        "seconds": round(seconds, 3),
        "kept": kept or None,
    }
    return json.dumps(body, ensure_ascii=False)


def _object(story: Story, kind: Kind) -> dict[str, Any] | None:
    incident = story.of(kind)
    return None if incident is None else asdict(incident)


def print_json(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
