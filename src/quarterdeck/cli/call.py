"""One invocation of the command line: its settings, its streams, and the edge between sync and async.

Rules
- Data goes to stdout, prose and progress to stderr. With `--json`, stdout carries JSON Lines and nothing else.
- Colour only on a terminal, and never against `NO_COLOR`.
- SIGINT and SIGTERM end the work in order, once; a second one ends it at once.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, is_dataclass
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO, TypeVar, cast

import typer

from quarterdeck.cli import registry
from quarterdeck.cli.faults import Fault, paragraphs
from quarterdeck.cli.text import Column, Tone, clean, pad, paint, table
from quarterdeck.kernel.failures import QuarterdeckError, Stop

if TYPE_CHECKING:  # what these need takes longer to import than `--help` may take
    from quarterdeck.cli.lines import Line
    from quarterdeck.cli.port import DeckApi, Opener
    from quarterdeck.engine.seats import Place
    from quarterdeck.settings import Settings

T = TypeVar("T")


VERSION: Final = 1
"""`v` of every JSON line."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines on stdout.")]
NoInput = Annotated[bool, typer.Option("--no-input", help="Never prompt, and never wait for a person.")]


class Call:
    """What a command works with."""

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.json = False
        self.no_input = False
        self.run: str | None = None
        """The run this is about, as soon as it is known: errors name it."""

    @cached_property
    def settings(self) -> "Settings":
        """Raises BadConfiguration."""
        return cast("Settings", registry.load("quarterdeck.settings", "load_settings", "No settings")())

    # --- what is printed ------------------------------------------------------------------------------------

    @cached_property
    def color_out(self) -> bool:
        return self.stdout.isatty() and not self.settings.no_color

    @cached_property
    def color_err(self) -> bool:
        return self.stderr.isatty() and not self.settings.no_color

    @property
    def attached(self) -> bool:
        """Whether somebody sits at it who can be waited for."""
        return sys.stdin is not None and sys.stdin.isatty() and not self.no_input

    @property
    def live(self) -> bool:
        """Whether a moving view may be drawn."""
        return self.stderr.isatty() and not self.json

    def width(self, stream: TextIO) -> int | None:
        """Columns of the terminal; None where it is none."""
        try:
            return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else None
        except (OSError, ValueError):
            return None

    def data(self, text: str) -> None:
        """What was asked for. Nothing with `--json`."""
        if not self.json:
            print(text, file=self.stdout, flush=True)

    def emit(self, kind: str | None, value: Any) -> None:
        """One JSON line: a value or a mapping, with `v` and `kind` in front. Nothing without `--json`."""
        if self.json:
            print(json_line(kind, value), file=self.stdout, flush=True)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """A table on stdout, cut to the terminal; in a pipe it is whole."""
        if not self.json:
            for line in table(columns, rows, width=self.width(self.stdout), color=self.color_out):
                print(line, file=self.stdout)
            self.stdout.flush()

    def say(self, text: str, tone: Tone = Tone.PLAIN) -> None:
        """Prose on stderr."""
        print(paint(clean(text, lines=True), tone, color=self.color_err), file=self.stderr, flush=True)

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}", Tone.WARN)

    def log(self, line: "Line", *, out: bool) -> None:
        """One event, on stdout (`logs`) or on stderr (progress)."""
        stream, color = (self.stdout, self.color_out) if out else (self.stderr, self.color_err)
        print(format_line(line, color=color), file=stream, flush=True)

    def fault(self, fault: Fault) -> None:
        """Say what went wrong: prose on stderr, and a line for scripts with `--json`."""
        color = self.stderr.isatty() and self._may_color()
        for label, text in paragraphs(fault):
            head = paint("quarterdeck:" if not label else f"{label:>11}:", Tone.QUIET, color=color)
            tone = Tone.STRONG if not label else Tone.PLAIN
            print(f"{head} {paint(clean(text), tone, color=color)}", file=self.stderr, flush=True)
        self.emit("error", fault)

    def _may_color(self) -> bool:
        try:
            return not self.settings.no_color
        except QuarterdeckError:
            # The settings may be the very thing that is reported as broken.
            return False

    # --- the deck -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def deck(self, *, own: bool = False, place: "Place | None" = None) -> AsyncIterator["DeckApi"]:
        """The open deck, through its server where it has one; `own`: without, `place`: as a worker that takes this."""
        settings, name = self.settings, "open_deck" if own else "open_served"
        opener = cast("Opener", registry.load("quarterdeck.assembly", name, "The deck cannot be opened"))
        async with opener(settings, place=place) if place is not None else opener(settings) as deck:
            yield deck


def begin(context: typer.Context, json: bool, no_input: bool = False) -> Call:
    """The invocation that this command belongs to."""
    call = context.obj
    if not isinstance(call, Call):
        raise TypeError("a command was started without `main`")
    call.json, call.no_input = json, no_input
    return call


def json_line(kind: str | None, value: Any) -> str:
    """One line of JSON; `v` and `kind` come first."""
    if (dump := _dump(value)) is not None:
        body = dump(mode="json")
    elif is_dataclass(value) and not isinstance(value, type):
        body = asdict(value)
    else:
        body = dict(cast(Mapping[str, Any], value))
    head: dict[str, Any] = {"v": VERSION} if kind is None else {"v": VERSION, "kind": kind}
    return json.dumps({**head, **body}, ensure_ascii=False, default=_jsonable)


def _dump(value: Any) -> Callable[..., dict[str, Any]] | None:
    """How a pydantic value, known by what it can do, becomes plain; None for anything else."""
    found: Callable[..., dict[str, Any]] | None = getattr(value, "model_dump", None)
    return found


def _jsonable(value: Any) -> Any:
    if (dump := _dump(value)) is not None:
        return dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def format_line(line: "Line", *, color: bool, now: float | None = None) -> str:
    """`14:02:07  backoff.1     step 3: run ok`, in local time; what is not of today says of which day it is."""
    at, today = time.localtime(line.at), time.localtime(now)
    same = (at.tm_year, at.tm_yday) == (today.tm_year, today.tm_yday)
    clock = time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S", at)
    return "  ".join(
        (paint(clock, Tone.QUIET, color=color), pad(line.who, 16), paint(line.text, line.tone, color=color))
    ).rstrip()


ECHO_SECONDS: Final = 1.0
"""A signal this soon after the first is the same one: `timeout` and others send it to the process and to its group."""


_GARBAGE: Final = (20_000, 10, 50)
"""When the collector looks, as `gc.set_threshold` has it. Python looks after every 700 new containers, which takes a
seventh of a busy gateway's time; most of what is made here goes by itself."""


def collect_seldom() -> None:
    """Have the collector look as seldom as every command of ours does. What is loaded by now stays."""
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
    gc.enable()


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run the async part of a command to its end. Raises Stop where the process was asked to end."""
    collect_seldom()
    _watch_children()
    return asyncio.run(_stoppable(work))


def _watch_children() -> None:
    """Wait for child processes without a thread for each, where the system can. From 3.12 on Python sees to it."""
    if sys.version_info < (3, 12) and sys.platform == "linux":
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError:
            return
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())


async def _stoppable(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    asked: list[float] = []

    def stop(number: int) -> None:
        asked.append(time.monotonic())
        for each in signals:
            loop.remove_signal_handler(each)
            signal.signal(each, again)
        if task is not None:
            task.cancel()

    def again(number: int, frame: FrameType | None) -> None:
        # Whoever asks twice does not want to wait: the system's own answer. Not by the loop, which may hang.
        if time.monotonic() - asked[0] > ECHO_SECONDS:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            os.kill(os.getpid(), number)

    # What the caller has the process ignore (nohup, a shell's background job) stays ignored.
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signals = [each for each in wanted if signal.getsignal(each) is not signal.SIG_IGN]
    for each in signals:
        loop.add_signal_handler(each, stop, each)
    try:
        return await work
    except asyncio.CancelledError:
        if asked:
            raise Stop from None
        raise
    finally:
        if not asked:
            for each in signals:
                loop.remove_signal_handler(each)
