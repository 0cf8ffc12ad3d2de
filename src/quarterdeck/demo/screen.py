"""How the demo looks: what happens, line by line on stderr, and the report on stdout.

Rules
- Names of the sixteen colours only, so that the person's theme decides; a mark beside every colour.
- Text is wrapped with a hanging indent at any width; off a terminal nothing moves and nothing is coloured.
- On a terminal one line at the bottom says what is going on at this moment.
"""

import json
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
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

PARALLEL: Final = 4
"""Tasks that have to be worked on at the same time."""

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
        clock = f"{time.monotonic() - began:5.1f}"
        _row(screen, ((clock, 5, "dim"), (mark, 1, style), (said.who, 11, "")), said.text, _TONES.get(said.mark, ""))

    if screen.is_terminal:
        with Live(_Now(story, began), console=screen, refresh_per_second=4, transient=True, redirect_stdout=False):
            yield tell
    else:
        yield tell


_TONES: Final = {Mark.KILL: "red", Mark.TROUBLE: "yellow"}

_Cell = tuple[str, int, str]
"""Text, width, style."""


def _row(screen: Console, cells: Sequence[_Cell], text: str, style: str = "", *, indent: int = 0) -> None:
    """Cells of fixed width, then the text, wrapped with a hanging indent. No space is left at the end of a line."""
    line = Text(" " * indent)
    for cell, width, tone in cells:
        line.append(cell.ljust(width), tone)
        line.append(" ")
    room = max(20, screen.width - line.cell_len)
    first, *more = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    gap = " " * line.cell_len
    line.append(first, style)
    line.rstrip()
    screen.print(line, soft_wrap=True)
    for part in more:
        screen.print(Text.assemble(gap, (part, style)), soft_wrap=True)


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
    _incidents(screen, story)
    _heading(screen, f"Merged onto {proof.result.target.branch}")
    for entry in proof.log:
        _row(screen, ((entry.commit[:7], 7, "yellow"), (entry.task, 11, "")), entry.subject, indent=2)
    _heading(screen, "Looked at by the demo itself, not taken from what agents say")
    for claim in proof.claims:
        _row(screen, (_verdict(claim.ok), (claim.name, 17, "")), claim.found, indent=2)
    parallel = f"{story.peak} tasks were worked on at the same moment"
    _row(screen, (_verdict(story.peak >= PARALLEL), ("in parallel", 17, "")), parallel, indent=2)
    _heading(screen, "Cost, at the scripted model's prices")
    for amount, what in _cost(story, proof, seconds):
        _row(screen, ((amount, 8, ""),), what, indent=2)
    _heading(screen, "The same on your own repository")
    for command, why in next_steps(shutil.which("quarterdeck"), Path(sys.executable).parent):
        screen.print(Text.assemble("  ", (command.ljust(39), "bold"), (f"  # {why}", "dim")), soft_wrap=True)
    screen.print()
    screen.print(Text.assemble(("The model was scripted.", "bold"), " Everything else was real."), soft_wrap=True)
    if kept:
        _kept(screen, story, kept)


def _heading(screen: Console, text: str) -> None:
    screen.print()
    screen.print(Text(text, style="bold"), soft_wrap=True)


def _verdict(ok: bool) -> _Cell:
    return ("✓", 1, "green") if ok else ("✗", 1, "red")


def _incidents(screen: Console, story: Story) -> None:
    empty: tuple[_Cell, ...] = ((" ", 1, ""), ("", 10, ""))
    for kind in Kind:
        incident = story.of(kind)
        if incident is None:
            _row(screen, (_verdict(False), (kind, 10, "")), "did not happen", indent=2)
            continue
        who = "" if kind is Kind.KILLED else f"{_short(story, incident.who)}: "
        _row(screen, (_verdict(bool(incident.mended)), (kind, 10, "")), f"{who}{incident.what}", indent=2)
        _row(screen, empty, f"→ {incident.mended or 'not mended'}", indent=2)
        _row(screen, empty, f"  journal: {_short(story, incident.where)}", "dim", indent=2)


def _short(story: Story, place: str) -> str:
    return place.removeprefix("attempt/").removeprefix(f"{story.run}.")


def _cost(story: Story, proof: Proof, seconds: float) -> tuple[tuple[str, str], ...]:
    usage, result = proof.result.tokens, proof.result
    share = usage.cache_read / usage.prompt if usage.prompt else 0.0
    return (
        (f"${result.cost_usd:.4f}", f"in the ledger, of a budget of ${to_usd(story.state.budget_nusd):.2f}"),
        (
            f"${proof.billed_usd:.4f}",
            f"would have been billed for {proof.requests} calls; the ledger counts a call that was cut off or killed "
            "with all that it may have cost",
        ),
        (
            f"{usage.prompt / 1000:.1f}k",
            f"tokens in, {share:.0%} from the cache; {usage.output / 1000:.1f}k tokens out",
        ),
        (f"{seconds:.0f} s", f"in all, with {story.tool_calls} tool calls in sandboxes"),
    )


_NEXT: Final = (
    ("export ANTHROPIC_API_KEY=...", "or OPENAI_API_KEY"),
    ("cd YOUR/REPOSITORY && quarterdeck init", "writes .quarterdeck/deck.toml"),
    ("$EDITOR .quarterdeck/deck.toml", "name your models under [tiers], then commit it"),
    ('quarterdeck run "WHAT YOU WANT"', "lands on a branch of its own"),
)


def next_steps(found: str | None, folder: Path) -> tuple[tuple[str, str], ...]:
    """Commands, and what they are for. found: the program on the PATH; folder: where this one is, which `make demo`
    starts without it being there."""
    if found is not None:
        return _NEXT
    return ((f'export PATH="{folder}:$PATH"', "where this demo's quarterdeck is"), *_NEXT)


def _kept(screen: Console, story: Story, kept: str) -> None:
    screen.print()
    screen.print(Text(f"Kept in {kept}", style="bold"), soft_wrap=True)
    screen.print(f"  QUARTERDECK_HOME={kept}/home quarterdeck show {story.run} --report", soft_wrap=True)
    screen.print(f"  git -C {kept}/webhooks log --stat {story.branch}", soft_wrap=True)


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
