"""Resume after SIGKILL: from the start of the new process to the first new step on record, with 50 agents at work.

usage: python -m bench.bench_resume [--agents N] [--rounds N] [--sandbox bubblewrap none]

Rules
- Real processes: `quarterdeck run` is killed when every agent has made steps and is at work, then `quarterdeck resume`
  is started, and killed again when every agent has made another one; and so on. The scripted model is a process of its
  own that lives through all of it.
- A new step is a model or tool call whose intent the new process itself recorded; it is begun by the intent and made by
  the outcome. Times are those of the records, on the machine's clock.
- The peer is what a process costs before it can do anything: the same command line asked for its help, and a bare
  Python, in the same rounds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.figures import Figure, Target, show
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import Plan, Task
from quarterdeck.models.scripted.scenario import Latency, Rule, Scenario, Turn, act
from quarterdeck.testing.chaos.processes import Line, Seen, Worker, model_server
from quarterdeck.testing.chaos.scene import Scene, Size, git

AGENTS: Final = 50
BACKENDS: Final = ("bubblewrap", "none")
LIMIT: Final = 1.0
INTENTS: Final = ("model.asked", "tool.intended")
OUTCOMES: Final = ("model.answered", "tool.done")
_PATIENCE: Final = 240.0
_CALLS: Final = 200
"""Of an agent: more than there is time for."""

_DECK: Final = """\
[deck]
max_parallel = {agents}
[limits]
turns = 10000
spawn_per_minute = 100000
agents_at_once = "none"
[checks]
gate = ["true"]
[sandbox]
backend = "{backend}"
setup = []
[budget]
run = 10000.0
[tiers]
hands = ["anthropic:scripted"]
[prices]
"anthropic:scripted" = {{ input = 3.0, output = 15.0 }}
[models."anthropic:scripted"]
context = 200000
"""


@dataclass(slots=True)
class Steps:
    """What one process recorded, as its lines are read."""

    since: float = 0.0
    """When it was started; what is older was recorded by a dead process that could not print it any more."""
    first: float | None = None
    """When its first record was made; seconds since the epoch."""
    begun: float | None = None
    """When its first new intent was."""
    made: float | None = None
    """When the first outcome of such an intent was."""
    active: dict[str, float] = field(default_factory=dict)
    """Streams that made a new step, with the time of the first."""
    _open: dict[str, int] = field(default_factory=dict)

    def take(self, line: Line) -> None:
        """Take over a record that nobody printed before."""
        event, at, stream = line["event"], float(line["at"]), str(line["stream"])
        if at < self.since:
            return
        self.first = self.first or at
        if event["kind"] in INTENTS:
            self.begun = self.begun or at
            self._open[stream] = event["step"]
        elif event["kind"] in OUTCOMES and self._open.get(stream) == event["step"]:
            self.made = self.made or at
            self.active.setdefault(stream, at)


def make_scene(folder: Path, agents: int, backend: str) -> Scene:
    """A repository, a plan of independent tasks, and agents that go on for ever."""
    repository, home = folder / "repository", folder / "home"
    repository.mkdir(parents=True)
    home.mkdir()
    (repository / "README").write_text("Something to work on.\n")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-qm", "Start")):
        git(repository, *arguments)
    (home / "deck.toml").write_text(_DECK.format(agents=agents, backend=backend))
    tasks = tuple(
        Task(id=f"n{n}", title=f"Part {n}", instructions="Go on.", paths=(f"n{n}.txt",), verify=("true",))
        for n in range(1, agents + 1)
    )
    (folder / "plan.json").write_text(Plan(goal="Work", tasks=tasks).model_dump_json())
    # Each call differs, or an agent that waits for slower ones is ended for going in circles.
    commands = (f"sleep 0.5; echo {number} >> n.txt" for number in range(_CALLS))
    turns = tuple(Turn(text="Once more.", actions=(act("run", command=command),)) for command in commands)
    scenario = Scenario(
        rules=(Rule(turns=turns, repeat=True),),
        latency=Latency(first_byte=0.05),
        prices={"scripted": Price(input=3.0, output=15.0)},
    )
    (folder / "scenario.json").write_text(scenario.model_dump_json())
    return Scene(folder, Size(commands=0, natives=agents, parallel=agents), "", "", "")


def watch(worker: Worker, agents: int, since: float = 0.0) -> Steps:
    """Read until every agent has made a new step. Exits where that does not happen."""
    steps, bound = Steps(since), time.monotonic() + _PATIENCE
    while len(steps.active) < agents:
        got = worker.read(max(0.0, bound - time.monotonic()))
        if got is None:
            raise SystemExit(f"only {len(steps.active)} of {agents} agents went on: {worker.errors}")
        line, new = got
        if new:
            steps.take(line)
    return steps


@contextmanager
def _killed(worker: Worker) -> Iterator[Worker]:
    with worker:
        yield worker
        if not worker.kill():
            raise SystemExit(f"it ended by itself: {worker.errors}")


@dataclass(frozen=True, slots=True)
class Resumed:
    """Seconds after the start of the new process."""

    first: float
    begun: float
    made: float
    all: float


def rounds_of(scene: Scene, agents: int, rounds: int) -> list[Resumed]:
    """Begin, kill, and resume `rounds` times."""
    seen, found = Seen(), []
    with model_server(scene) as model:
        order = ("run", "--plan", str(scene.plan), "--repo", str(scene.repository))
        with _killed(Worker(scene, *order, seen=seen, model_url=model.url)) as worker:
            watch(worker, agents)
            run = worker.run
        for _ in range(rounds):
            began = time.time()
            with _killed(Worker(scene, "resume", run, seen=seen, model_url=model.url)) as worker:
                steps = watch(worker, agents, began)
            assert steps.first is not None and steps.begun is not None and steps.made is not None
            times = (steps.first, steps.begun, steps.made, max(steps.active.values()))
            found.append(Resumed(*(at - began for at in times)))
    return found


def seconds_of(*command: str) -> float:
    """Seconds that a command takes."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(agents: int, rounds: int, backend: str) -> list[Figure]:
    """The figures for one kind of sandbox."""
    with tempfile.TemporaryDirectory() as folder:
        scene = make_scene(Path(folder), agents, backend)
        try:
            resumed = rounds_of(scene, agents, rounds)
        finally:
            scene.ground.destroy()
    command = (sys.executable, "-m", "quarterdeck.cli.main")
    peers = {
        "`quarterdeck resume --help`": _middle([seconds_of(*command, "resume", "--help") for _ in resumed]),
        f"bare Python {sys.version.split()[0]}": _middle([seconds_of(sys.executable, "-c", "pass") for _ in resumed]),
    }
    name = f"(e) resume of {agents} agents, sandbox {backend}"
    note = f"median of {rounds}; best {{:.2f}}; load {os.getloadavg()[0]:.1f}"
    told: list[tuple[str, Any, Target | None]] = [
        ("first new step begun", lambda one: one.begun, Target("ours", LIMIT)),
        ("first new step made", lambda one: one.made, Target("ours", LIMIT)),
        ("every agent has made a new step", lambda one: one.all, None),
    ]
    return [
        Figure(
            f"{name}: {what}",
            "s",
            _middle([of(one) for one in resumed]),
            peers,
            target,
            note.format(min(of(one) for one in resumed)),
        )
        for what, of, target in told
    ]


def _middle(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--agents", type=int, default=AGENTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sandbox", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    chosen = parser.parse_args()
    for backend in chosen.sandbox:
        show(measure(chosen.agents, chosen.rounds, backend))


if __name__ == "__main__":
    main()
