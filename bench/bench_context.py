"""What the prompts of public agent trajectories cost: our cache and compaction policy beside naive resending and a
perfect prefix cache.

usage: BENCH_DATA=DIR python -m bench.bench_context [--windows TOKENS ...]

Rules
- Each recorded turn goes through the shipped loop: its context building, reminders, compaction and journal, and the
  request body with its cache breakpoints. A model without a network answers what was recorded and bills the body by the
  scripted model's simulation of Anthropic's cache.
- Billed is input: 1 a token, 0.1 read from the cache, 1.25 written to it; a summary's output counts 5 a token. A token
  is four characters of the body.
- Naive resending bills every prompt of the plain recorded conversation at 1. The perfect cache is the cheapest
  there can be: it reads what was sent before, writes what is sent again, and what the last prompt adds it does not
  write, since nothing reads it. Neither has reminders, a shortest cacheable prefix, or a window that ends.
- Every trajectory begins with an empty cache; its tools are the recorded ones, in bare schemas, beside our own.
- The demonstrations are shorter than either window; in a row they are one conversation that outgrows the small one.
- The model's tools and answers are the recorded ones, whatever the window: only what is sent differs.
"""

import argparse
import asyncio
import itertools
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.figures import Figure, Target, show
from bench.trajectories import Trajectory, in_a_row, load
from quarterdeck.agents import prompts
from quarterdeck.agents.native import NativeHarness
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.ports import Ports
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.chain import run_purse
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.govern.port import Link
from quarterdeck.journal.log import Log
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DeckConfig, LimitsSection, Price, RunConfig
from quarterdeck.kernel.entities import Agent, Usage
from quarterdeck.kernel.events import Outcome
from quarterdeck.models import anthropic_messages
from quarterdeck.models.limiter import Limiter, Limiters
from quarterdeck.models.port import Message, Model, Reply, Request, StopReason, Text, ToolCall, ToolOutcome, ToolSpec
from quarterdeck.models.scripted.cache import PrefixCache, prompt_tokens
from quarterdeck.models.scripted.wire_anthropic import hear
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.tools.bounds import bounded
from quarterdeck.tools.port import Effect, Replay, Surroundings, ToolResult
from quarterdeck.tools.toolbox import NAMES, Toolbox
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Sandbox, Spec

MODEL: Final = "anthropic:recorded"
CHARACTERS: Final = 4
READ: Final = 0.1
WRITE: Final = 1.25
OUTPUT: Final = 5.0
WINDOWS: Final = (200_000, 32_000)
FAMILIES: Final = ("SWE-agent demonstrations", "tau-bench airline")
LONG: Final = "SWE-agent demonstrations in a row"
TARGET: Final = Target("ratio", 1.1)
SIDE_BY_SIDE: Final = 20
_YEAR: Final = 31_536_000
_UNIT: Final = "billed input tokens"
_ROOM: Final = "too small for this task"


@dataclass(slots=True)
class Bill:
    """Tokens billed, in input tokens."""

    ours: float = 0.0
    naive: float = 0.0
    perfect: float = 0.0
    calls: int = 0
    summaries: int = 0

    def __add__(self, other: "Bill") -> "Bill":
        return Bill(
            self.ours + other.ours,
            self.naive + other.naive,
            self.perfect + other.perfect,
            self.calls + other.calls,
            self.summaries + other.summaries,
        )


def billed(usage: Usage) -> float:
    """The prompt of `usage` in input tokens."""
    return usage.input + READ * usage.cache_read + WRITE * usage.cache_write


def plain_bills(sizes: Sequence[int]) -> tuple[float, float]:
    """(naive, perfect) for prompts of these sizes, each a prefix of the next."""
    earlier = (0, *sizes[:-1])
    new = [size - before for before, size in zip(earlier, sizes, strict=True)]
    perfect = WRITE * sum(new[:-1]) + sum(new[-1:]) + READ * sum(earlier)
    return float(sum(sizes)), perfect


def tool_name(recorded: str) -> str:
    """The name under which a recorded tool is offered: ours keep their own."""
    return f"{recorded}_" if recorded in NAMES else recorded


@dataclass
class Recorded:
    """A model (of `models.port`) that says what was recorded and bills what it is sent."""

    trajectory: Trajectory
    size: int
    name: str = MODEL
    bill: Bill = field(default_factory=Bill)
    _said: int = 0
    _cache: PrefixCache = field(default_factory=PrefixCache)
    _plain: list[Message] = field(default_factory=list)
    _sizes: list[int] = field(default_factory=list)

    async def window(self) -> int:
        return self.size

    async def close(self) -> None:
        return

    async def complete(self, request: Request) -> Reply:
        counted = self._cache.count(hear(anthropic_messages.body(request, "recorded")), CHARACTERS)
        usage = Usage(input=counted.input, cache_read=counted.read, cache_write=counted.write)
        self.bill.ours += billed(usage)
        if request.system == prompts.SUMMARY_SYSTEM:
            return self._summary(request, usage)
        message = self._next()
        self._count_plain(request, message)
        return Reply(message, StopReason.TOOLS, usage)

    def _summary(self, request: Request, usage: Usage) -> Reply:
        """One that uses all that it may: it is what a summary costs at most."""
        self.bill.summaries += 1
        self.bill.ours += OUTPUT * request.max_output
        text = ("word " * request.max_output)[: request.max_output * CHARACTERS]
        message = Message(role="assistant", blocks=(Text(text=text),))
        return Reply(message, StopReason.END, usage.model_copy(update={"output": request.max_output}))

    def _next(self) -> Message:
        at, self._said = self._said, self._said + 1
        if at == len(self.trajectory.turns):
            call = ToolCall(id="end", name="submit", arguments={"summary": "Done."})
            return Message(role="assistant", blocks=(call,))
        turn = self.trajectory.turns[at]
        spoken = [Text(text=turn.text)] if turn.text else []
        calls = [
            ToolCall(id=f"{at}-{n}", name=tool_name(c.name), arguments=c.arguments) for n, c in enumerate(turn.calls)
        ]
        return Message(role="assistant", blocks=(*spoken, *calls))

    def _count_plain(self, request: Request, message: Message) -> None:
        if not self._plain:
            self._plain.append(Message(role="user", blocks=request.messages[0].blocks[:1]))
        sent = Request(request.system, request.tools, tuple(self._plain), request.max_output)
        self._sizes.append(prompt_tokens(hear(anthropic_messages.body(sent, "recorded")), CHARACTERS))
        self.bill.naive, self.bill.perfect = plain_bills(self._sizes)
        self.bill.calls = len(self._sizes)
        if self._said > len(self.trajectory.turns):
            return
        turn = self.trajectory.turns[self._said - 1]
        outcomes = [
            ToolOutcome(id=f"{self._said - 1}-{n}", text=bounded(c.result)[0]) for n, c in enumerate(turn.calls)
        ]
        self._plain += [message, Message(role="user", blocks=tuple(outcomes))]


@dataclass
class RecordedTool:
    """A tool (of `tools.port`) that answers what was recorded."""

    name: str
    results: list[str]
    effect: Effect = "read"
    replay: Replay = "ask"

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(name=self.name, description=f"The recorded tool {self.name}.", parameters={"type": "object"})

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        return ToolResult(self.results.pop(0))

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


@dataclass(frozen=True, slots=True)
class _Only:
    """A factory that knows one model."""

    model: Model
    limits: Limiter

    def __call__(self, name: str) -> Model:
        return self.model

    def limiter(self, name: str) -> Limiter:
        return self.limits


@dataclass(frozen=True, slots=True)
class Bench:
    """What all replays share."""

    journal: Log
    treasury: Budgets
    sandbox: Sandbox
    run: str
    at_once: asyncio.Semaphore

    async def replay(self, trajectory: Trajectory, window: int, number: int) -> Bill | None:
        """Its bill; None where the window is too small for it. Exits with the reason where it does not end."""
        async with self.at_once:
            model = Recorded(trajectory, window)
            finished = await NativeHarness(self._ports(trajectory, model)).work(
                await self._assignment(trajectory, number)
            )
        if finished.outcome is Outcome.OK:
            return model.bill
        if _ROOM in finished.reason:
            return None
        raise SystemExit(f"{trajectory.name} does not end: {finished.reason}")

    def _ports(self, trajectory: Trajectory, model: Model) -> Ports:
        clock = SystemClock()
        results: dict[str, list[str]] = {}
        for call in itertools.chain.from_iterable(turn.calls for turn in trajectory.turns):
            results.setdefault(tool_name(call.name), []).append(call.result)
        return Ports(
            journal=self.journal,
            policy=DefaultPolicy(),
            treasury=self.treasury,
            models=_Only(model, Limiters(clock).of(MODEL)),
            toolbox=Toolbox([RecordedTool(name, many) for name, many in sorted(results.items())]),
            clock=clock,
        )

    async def _assignment(self, trajectory: Trajectory, number: int) -> Assignment:
        attempt = ids.attempt_id(self.run, f"t{number}", 1)
        tools = tuple(map(tool_name, trajectory.tools))
        deck = DeckConfig(
            limits=LimitsSection(turns=10_000, wall=_YEAR, tokens=10**9),
            tiers={"hands": (MODEL,)},
            prices={MODEL: Price(input=1, output=OUTPUT, cache_read=READ, cache_write=WRITE)},
        )
        return Assignment(
            run=self.run,
            attempt=attempt,
            number=1,
            incarnation=1,
            agent=Agent(name="recorded", tools=tools, prompt=trajectory.system),
            claim=await self.journal.claim(ids.attempt_stream(attempt)),
            sandbox=self.sandbox,
            config=RunConfig(deck=deck),
            goal=trajectory.task,
            chain=(Link(run_purse(self.run), None, opened=True),),
        )


async def bill(trajectories: Sequence[Trajectory], window: int) -> tuple[Bill, int]:
    """(the sum of all bills, how many trajectories did not fit into the window)"""
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder) / "home")
        store = await SqliteStore.open(Path(folder) / "deck.db", durability="normal")
        sandbox = await Plain(ground).create(Spec(id="unused"))
        try:
            run, treasury = "r-bench", Budgets()
            await store.write(lambda tx: treasury.open(tx, run_purse(run), 10**18))
            bench = Bench(Log(store, SystemClock()), treasury, sandbox, run, asyncio.Semaphore(SIDE_BY_SIDE))
            bills = await asyncio.gather(
                *(bench.replay(trajectory, window, number) for number, trajectory in enumerate(trajectories))
            )
        finally:
            await sandbox.close()
            await store.close()
            ground.destroy()
    fitting = [one for one in bills if one is not None]
    return sum(fitting, Bill()), len(bills) - len(fitting)


async def figures(data: Path | None, windows: Sequence[int] = WINDOWS) -> list[Figure]:
    """A figure for each family of trajectories and each window; those of one long conversation have no target."""
    families = load(data) if data is not None else {}
    if swe := families.get(FAMILIES[0]):
        families[LONG] = [in_a_row(swe)]
    found = []
    for family, window in itertools.product((*FAMILIES, LONG), windows):
        name, target = f"(g) context: {family}, window {window // 1000}k", TARGET if family in FAMILIES else None
        if family not in families:
            found.append(Figure(name, _UNIT, None, target=target, note="no data below BENCH_DATA"))
            continue
        total, left_out = await bill(families[family], window)
        peers = {"perfect prefix cache": float(round(total.perfect)), "naive resending": float(round(total.naive))}
        note = f"{len(families[family]) - left_out} trajectories, {total.calls} calls, {total.summaries} summaries"
        note += f", {left_out} too large for the window" if left_out else ""
        found.append(Figure(name, _UNIT, round(total.ours), peers, target, note))
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--windows", type=int, nargs="+", default=list(WINDOWS), help="context windows in tokens")
    windows = parser.parse_args().windows
    data = os.environ.get("BENCH_DATA")
    show(asyncio.run(figures(Path(data) if data else None, windows)))


if __name__ == "__main__":
    main()
