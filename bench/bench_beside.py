"""What it costs a native agent's step that it is warned of others: CPU with and without, however many are at work.

usage: python -m bench.bench_beside [--beside N] [--rounds N] [--lines N]

Rules
- The same scripted model over loopback in a process of its own, no latency, eleven calls a conversation with ten tool
  calls: three edits of a Python file in three functions, seven reads of it. A model's own time is not in it: a real
  step takes seconds, and the same work then.
- With warnings each edit is taken apart and recorded, and the agent looks beside it; N live attempts of other runs on
  the same target have changed other functions of that file, so each look finds them all and warns of none.
- CPU of the agent's process, the variants take turns, medians are taken.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure, Target, show
from quarterdeck.agents.native import NativeHarness
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.ports import Ports
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.chain import DayCaps, chain_of, run_purse
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.journal.log import Log
from quarterdeck.journal.touches import Touches
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DeckConfig, ModelSection, Price, RunConfig
from quarterdeck.kernel.entities import Agent, Plan, Task
from quarterdeck.kernel.events import Outcome
from quarterdeck.models.factory import make_factory
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.tools.toolbox import Toolbox
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Spec

MODEL = "chat:scripted"
RUN, NAME, CALLS, EDITS, TARGET = "r-bench", "edit", 11, 3, "target"
AGENT = Agent(name="implementer", prompt="You are careful.", tools=("read", "edit"))
CONFIG = RunConfig(
    deck=DeckConfig(
        tiers={"hands": (MODEL,)},
        prices={MODEL: Price(input=3.0, output=15.0)},
        models={MODEL: ModelSection(context=200_000)},
    )
)
CONVERSATIONS = 8


def code(lines: int) -> str:
    """A module of about so many lines: functions of eight lines each."""
    said = ("total = 0", "for value in values:", "    if value > {n}:", "        total += value * {n}", "return total")
    body = "".join(f"    {line}\n" for line in said)
    return "".join(
        f'def work_{n}(values):\n    """Adds up what is above {n}."""\n{body.format(n=n)}\n' for n in range(lines // 8)
    )


@contextmanager
def model() -> Iterator[str]:
    """The scripted model in a process of its own; its address for Chat Completions."""
    edits = [
        {"actions": [{"edit": {"path": "work.py", "old": f"if value > {n}:", "new": f"if value >= {n}:"}}]}
        for n in range(EDITS)
    ]
    reads = [
        {"actions": [{"read": {"path": "work.py", "offset": n + 1, "limit": 20}}]} for n in range(CALLS - 1 - EDITS)
    ]
    turns = [
        *reads[:2],
        edits[0],
        *reads[2:4],
        edits[1],
        *reads[4:],
        edits[2],
        {"actions": [{"submit": {"summary": "ok"}}]},
    ]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        scenario = Path(name) / "scenario.json"
        scenario.write_text(json.dumps({"rules": [{"turns": turns}]}))
        command = [sys.executable, "-m", "quarterdeck.models.scripted", "--scenario", str(scenario)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert server.stdin is not None and server.stdout is not None
        try:
            yield str(json.loads(server.stdout.readline())["url"]) + "/v1"
        finally:
            server.stdin.close()
            server.wait(timeout=30)
            server.stdout.close()


async def crowd(journal: Log, beside: int) -> None:
    """This agent's run, and so many live attempts of others that have changed other functions of the same file."""
    blob = await journal.put(b"{}")
    for number in range(beside + 1):
        run = RUN if number == beside else f"r-other{number}"
        created = e.RunCreated(
            run=run, goal="Edit", goal_blob=blob, repository="/repository", target=TARGET, base="0" * 40, into="main",
            config_blob=blob, budget_nusd=10**12, max_parallel=1, user="bench", sandbox="none",
        )  # fmt: skip
        plan = Plan(goal="Edit", tasks=(Task(id=NAME, title="Edit", instructions="Edit it.", paths=("**",)),))
        planned = e.RunPlanned(plan_blob=await journal.put(plan.model_dump_json().encode()), tasks=1)
        attempt = ids.attempt_id(run, NAME, 1)
        dispatched = e.TaskDispatched(task=NAME, attempt=attempt, number=1, agent="implementer")
        await journal.append(await journal.claim(ids.run_stream(run)), created, planned, dispatched)
        if run != RUN:
            event = e.AttemptTouched(path="work.py", entities=(f"work_{EDITS + number}",), first=(1,), last=(8,))
            await journal.append(await journal.claim(ids.attempt_stream(attempt)), event)


async def measured(url: str, beside: int, lines: int, *, told: bool, place: Path) -> float:
    """CPU ms of a model call in this process."""
    store = await SqliteStore.open(place / "deck.db")
    journal, treasury, clock = Log(store, SystemClock()), Budgets(), SystemClock()
    await store.write(lambda tx: treasury.open(tx, run_purse(RUN), 10**15))
    await crowd(journal, beside)
    models = make_factory(keys={}, base_urls={"chat": url}, models=CONFIG.deck.models)
    touches = Touches(store) if told else None
    ports = Ports(journal, DefaultPolicy(), treasury, models, Toolbox(), clock, touches=touches)
    harness, ground = NativeHarness(ports), Ground(place / "home")
    sandbox = await Plain(ground).create(Spec(id="bench"))
    task = Task(id=NAME, title="Edit", instructions="Edit it.", paths=("**",))

    async def converse(number: int) -> None:
        await sandbox.write("work.py", code(lines).encode())
        attempt = ids.attempt_id(RUN, NAME, number)
        assignment = Assignment(
            run=RUN, attempt=attempt, number=number, incarnation=1, agent=AGENT, config=CONFIG, goal="Edit",
            task=task, claim=await journal.claim(ids.attempt_stream(attempt)), sandbox=sandbox,
            chain=chain_of(
                run=RUN, task=NAME, attempt=attempt, user="bench", days=DayCaps(user=1e6, deck=1e6), now=clock.wall()
            ),
        )  # fmt: skip
        finished = await harness.work(assignment)
        assert finished.outcome is Outcome.OK, finished

    try:
        await converse(1)  # what is loaded late
        used = time.process_time()
        for number in range(2, CONVERSATIONS + 2):
            await converse(number)
        return (time.process_time() - used) / (CONVERSATIONS * CALLS) * 1000
    finally:
        await sandbox.close()
        await models.close()
        await store.close()
        ground.destroy()


def compared(url: str, beside: int, lines: int, rounds: int) -> Figure:
    """CPU of a step with warnings beside the same step without."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for told in (False, True):
            with tempfile.TemporaryDirectory(prefix="bench-") as name:
                place = Path(name)
                place.chmod(0o755)  # the unprivileged user of the sandboxes has to get through
                found[told].append(asyncio.run(measured(url, beside, lines, told=told, place=place)))
    ours, without = (statistics.median(found[told]) for told in (True, False))
    name = f"CPU per step with {beside} live attempts in the same file of {lines} lines"
    note = f"{(ours - without) * CALLS / EDITS:.2f} ms an edit"
    return Figure(name, "ms", round(ours, 3), {"without warnings": round(without, 3)}, Target("ratio", 1.05), note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=int, default=35)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=200)
    options = parser.parse_args()
    with model() as url:
        show([compared(url, beside, options.lines, options.rounds) for beside in (0, options.beside)])


if __name__ == "__main__":
    main()
