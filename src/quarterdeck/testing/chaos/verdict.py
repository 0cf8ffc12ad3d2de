"""What must hold after any number of kills, as a list of what does not.

Rules
- What the deck says of itself (its result, its journal) is held against what it did: the branch, the tree, the
  repository, the processes and directories of the machine.
- Every finding names its place; an empty list is the only good one.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from quarterdeck.engine.port import POISON_DEATHS
from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Record, Verification
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import Exit
from quarterdeck.store.opening import FILE, open_url
from quarterdeck.store.port import Store
from quarterdeck.testing.chaos.leftovers import of_machine, of_mirrors, of_repository
from quarterdeck.testing.chaos.processes import Line
from quarterdeck.testing.chaos.scene import Scene, git


@dataclass(frozen=True, slots=True)
class Redone:
    """Steps that were done again, or whose outcome was lost, because a kill cut them off."""

    agents: int = 0
    """Starts of command agents beyond the first of each attempt."""
    calls: int = 0
    """Model calls without an outcome."""
    tools: int = 0
    """Tool calls without an outcome."""

    @property
    def total(self) -> int:
        return self.agents + self.calls + self.tools


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in a finished run."""

    violations: tuple[str, ...]
    attempts: int
    redone: Redone
    model_calls: int
    """Answered ones."""


Streams = Mapping[str, list[Record]]

_NO_END: Final = "no run.finished line"
_RESET: Final = "broke off: Connection reset by peer"
_ENDS: Final = (Outcome.OK,)
_SHORT_ENDS: Final = (Outcome.OK, Outcome.EXHAUSTED)


def judge(scene: Scene, run: str, result: Line | None, *, delays: bool = False) -> Verdict:
    """Look at everything that run left behind. `delays`: nodes may have waited for the machine."""
    streams, audit, left = asyncio.run(_looked(scene))
    found = judged(scene, run, result, streams, delays=delays)
    more = [
        *of_repository(scene),
        *of_mirrors(scene),
        *left,
        *of_machine(scene),
        *(() if not audit.faults else (f"the journal is not intact: {audit}",)),
    ]
    return replace(found, violations=(*found.violations, *more))


def judged(
    scene: Scene, run: str, result: Line | None, streams: Streams, *, delays: bool, short: bool = False
) -> Verdict:
    """What its result, its branch and the journal say of the run. `delays`: nodes may have waited for the machine, and
    calls may have been cut off with their connections. `short`: its money could not be enough."""
    mine = {name: records for name, records in streams.items() if name.startswith((f"attempt/{run}.", f"run/{run}"))}
    everything = [record.event for records in mine.values() for record in records]
    due = due_of(scene, result) if short else scene.tasks
    found = [
        *(of_short_result(scene, result) if short else of_result(scene, result)),
        *of_branch(scene, run, result, due),
        *of_run(scene, mine[ids.run_stream(run)], due),
        *(
            text
            for name, records in mine.items()
            if name.startswith("attempt/")
            for text in of_attempt(name, records, delays, _SHORT_ENDS if short else _ENDS)
        ),
        *of_gate(run, streams, delays),
    ]
    attempts = {event.attempt for event in everything if isinstance(event, e.TaskDispatched)}
    answered = sum(isinstance(event, e.ModelAnswered) for event in everything)
    return Verdict(tuple(found), len(attempts), _redone(mine), answered)


def _redone(mine: Streams) -> Redone:
    everything = [record.event for records in mine.values() for record in records]
    started = [event for event in everything if isinstance(event, e.HarnessStarted)]
    commands = {name for name, records in mine.items() if any(isinstance(r.event, e.HarnessStarted) for r in records)}
    return Redone(
        agents=len(started) - len(commands),
        calls=sum(isinstance(event, e.ModelErred) for event in everything),
        tools=sum(
            isinstance(event, e.ToolDone) and bool({"unknown-outcome", "rerun", "probed"} & {*event.flags})
            for event in everything
        ),
    )


async def _looked(scene: Scene) -> tuple[Streams, Verification, tuple[str, ...]]:
    """What the scene's database says, and what is left in it."""
    store = await open_url(scene.database or str(scene.home / FILE))
    try:
        return *(await read_all(store)), await _of_store(store)
    finally:
        await store.close()


async def read_all(store: Store) -> tuple[Streams, Verification]:
    """The streams of runs, attempts, gates and checks, and what `audit verify` says of everything."""
    journal = Log(store, SystemClock())
    names = [name for prefix in ("run/", "attempt/", "gate/", "check/") for name in await journal.streams(prefix)]
    streams: dict[str, list[Record]] = {}
    for name in names:
        streams[name] = []
        while page := await journal.read(name, after=len(streams[name])):
            streams[name] += page
    return streams, await journal.verify()


def of_result(scene: Scene, result: Line | None) -> Iterator[str]:
    """Of a run that could do all of its work."""
    if result is None:
        yield _NO_END
        return
    if (result["status"], result["exit_code"]) != ("done", 0):
        yield f"the run is {result['status']} ({result['exit_code']}): {result['reason']}"
    if [task["id"] for task in result["tasks"]] != list(scene.tasks):
        yield f"tasks are {[task['id'] for task in result['tasks']]}"
    for task in result["tasks"]:
        if task["status"] != "merged":
            yield f"task {task['id']} is {task['status']}: {task['reason']}"
        if task["attempts"] != 1:
            yield f"task {task['id']} counts {task['attempts']} attempts; a kill is nobody's failed attempt"


def of_short_result(scene: Scene, result: Line | None) -> Iterator[str]:
    """Of a run whose money could not be enough."""
    if result is None:
        yield _NO_END
        return
    if result["exit_code"] != Exit.BUDGET:
        yield f"the run is {result['status']} ({result['exit_code']}), and its money was not enough: {result['reason']}"
    if (many := [task["id"] for task in result["tasks"] if task["attempts"] > 1]) or len(due_of(scene, result)) == len(
        scene.tasks
    ):
        yield f"more was done than its money was enough for; more than one attempt at {many}"


def due_of(scene: Scene, result: Line | None) -> tuple[str, ...]:
    """The tasks that a result says are merged."""
    tasks = result["tasks"] if result is not None else ()
    merged = {task["id"] for task in tasks if task["status"] == "merged"}
    return tuple(task for task in scene.tasks if task in merged)


def of_branch(scene: Scene, run: str, result: Line | None, due: Sequence[str]) -> Iterator[str]:
    """The commits of these tasks and no others, one each, in one line from the base, to the tree that they make."""
    branch = f"quarterdeck/{run}"
    if not due and not git(scene.landing, "for-each-ref", f"refs/heads/{branch}"):
        return
    log = git(
        scene.landing,
        "log",
        "--reverse",
        "--format=%H %P %(trailers:key=Quarterdeck-Task,valueonly,separator=%x2C)",
        f"{scene.base}..{branch}",
    )
    rows = [line.split(" ") for line in log.splitlines()]
    merged = Counter(row[-1] for row in rows)
    for task in due:
        if merged[task] != 1:
            yield f"task {task} was merged {merged[task]} times"
    if set(merged) - set(due):
        yield f"the branch holds other commits: {sorted(set(merged) - set(due))}"
    parents = [row[1:-1] for row in rows]
    if parents != [[before] for before in [scene.base, *(row[0] for row in rows[:-1])]]:
        yield "the branch is not one line of commits from the base"
    tip, tree = git(scene.landing, "rev-parse", branch, f"{branch}^{{tree}}").splitlines()
    if tree != scene.tree and len(due) == len(scene.tasks):
        difference = git(scene.landing, "diff", "--stat", scene.tree, tree) if _known(scene) else ""
        yield f"the tree is {tree}, not {scene.tree} {difference}"
    if result is not None and result["target"]["sha"] != tip:
        yield f"the result says {result['target']['sha']}, the branch is at {tip}"
    noted = git(scene.landing, "notes", "--ref=quarterdeck", "list").splitlines()
    if missing := {row[0] for row in rows} - {line.split(" ")[1] for line in noted}:
        yield f"commits without a note: {sorted(missing)}"


def _known(scene: Scene) -> bool:
    return not git(scene.landing, "fetch", "-q", str(scene.folder / "expected"))


def of_run(scene: Scene, records: list[Record], due: Sequence[str]) -> Iterator[str]:
    """Its own stream: each thing that happens once is on record once."""
    merged = Counter(r.event.task for r in records if isinstance(r.event, e.TaskMerged))
    dispatched = Counter(r.event.task for r in records if isinstance(r.event, e.TaskDispatched))
    for task in scene.tasks:
        wanted = [(1, 1)] if task in due else [(0, 0), (0, 1)]
        if (merged[task], dispatched[task]) not in wanted:
            yield f"task {task} was dispatched {dispatched[task]} and recorded as merged {merged[task]} times"
    ends = Counter((r.event.attempt, r.event.node) for r in records if isinstance(r.event, e.NodeFinished))
    yield from (f"{node} of {attempt} ended {times} times" for (attempt, node), times in ends.items() if times > 1)
    for kind in (e.RunCreated, e.RunPlanned, e.RunReported, e.RunFinished):
        if (times := sum(isinstance(record.event, kind) for record in records)) != 1:
            yield f"{times} records of {kind.__name__}"


def of_attempt(stream: str, records: list[Record], delays: bool, ends: Collection[str] = _ENDS) -> Iterator[str]:
    """Every intent has one outcome; nothing that has one is begun again. `delays`: as `judged` has it. `ends`: how its
    nodes may end."""
    events = [record.event for record in records]
    intended = Counter(event.call for event in events if isinstance(event, e.ToolIntended))
    intended.subtract(event.call for event in events if isinstance(event, e.ToolFellBack))  # one outcome for both
    done = Counter(event.call for event in events if isinstance(event, e.ToolDone))
    if intended != done or set(done.values()) > {1}:
        yield f"{stream}: tool calls {dict(intended)} have the outcomes {dict(done)}"
    for event in events:
        if isinstance(event, e.ToolDone) and "rerun" in event.flags and event.tool == "run":
            yield f"{stream}: {event.tool} was run again"
    answered = Counter(event.step for event in events if isinstance(event, e.ModelAnswered))
    yield from (f"{stream}: step {step} was answered {times} times" for step, times in answered.items() if times > 1)
    asked = sum(isinstance(event, e.ModelAsked) for event in events)
    outcomes = sum(isinstance(event, (e.ModelAnswered, e.ModelErred)) for event in events)
    if asked != outcomes:
        yield f"{stream}: {asked} model calls have {outcomes} outcomes"
    for event in events:
        if isinstance(event, e.ModelErred) and not _expected(event, delays):
            yield f"{stream}: a model call failed: {event.reason}"
        if isinstance(event, e.NodeFinished) and event.outcome not in ends:
            yield f"{stream}: {event.node} ended with {event.outcome}: {event.reason}"
        if isinstance(event, e.NodeDelayed) and not delays:
            yield f"{stream}: {event.node} was delayed: {event.reason}"
    yield from _of_harness(stream, events)


def _expected(failed: e.ModelErred, cuts: bool) -> bool:
    """Whether a fault that is injected does that to a call under way: its process ends, or its connection is reset."""
    return "the process ended" in failed.reason or (cuts and failed.reason.endswith(_RESET))


def _of_harness(stream: str, events: list[e.EventBase]) -> Iterator[str]:
    finished: set[int] = set()
    begun: list[int] = []
    for event in events:
        if isinstance(event, e.HarnessStarted):
            if finished or event.incarnation in begun:
                yield f"{stream}: an agent that had ended, or begun in this workspace, was started again"
            begun.append(event.incarnation)
        elif isinstance(event, e.HarnessFinished):
            if event.incarnation in finished or not event.ok:
                yield f"{stream}: the agent's end is on record twice or as a failure: {event.reason}"
            finished.add(event.incarnation)
    nodes = Counter(event.node for event in events if isinstance(event, e.NodeFinished))
    yield from (f"{stream}: {node} ended {times} times" for node, times in nodes.items() if times > 1)


def of_gate(run: str, streams: Streams, delays: bool) -> Iterator[str]:
    """What went to the gate landed, once, and nothing was sent back."""
    gate = [r.event for name, records in streams.items() if name.startswith("gate/") for r in records]
    landed = Counter(event.attempt for event in gate if isinstance(event, e.ChangeLanded))
    queued = Counter(event.change.attempt for event in gate if isinstance(event, e.ChangeQueued))
    for attempt, times in (landed + queued).items():
        if attempt.startswith(f"{run}.") and (landed[attempt], queued[attempt]) != (1, 1):
            yield f"{attempt} was queued {queued[attempt]} and landed {landed[attempt]} times ({times})"
    for event in gate:
        if isinstance(event, e.ChangeReturned | e.FlakeSeen | e.TipMoved):
            yield f"the gate: {event.model_dump_json()}"
        if isinstance(event, e.GateCheckFinished) and not (
            event.passed or event.cancelled or (delays and event.infrastructure)
        ):
            yield f"the gate's check {event.check}: {event.reason}"


async def _of_store(store: Store) -> tuple[str, ...]:
    """Money that is still set aside, and jobs that are still in the queue."""
    held, reserved, jobs = await store.reads(
        ("left_reservations", {}), ("left_reserved", {}), ("left_jobs", {"poison": POISON_DEATHS})
    )
    return (
        *(f"{row['amount']} nano-USD are still reserved by {row['holder']}" for row in held),
        *(f"{row['reserved']} nano-USD are still reserved in {row['purse']}" for row in reserved),
        *(f"a job is left: {row['kind']} {row['key']} ({row['status']})" for row in jobs),
    )
