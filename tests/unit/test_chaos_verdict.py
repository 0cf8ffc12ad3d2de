"""What judges a chaos campaign can see each thing that it judges: a made-up story that is well has no finding, and each
one that is bad in one way has one that says so."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import Change, Usage
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import Exit, FailureClass
from quarterdeck.testing.chaos.caps import (
    Caps,
    Committed,
    Peaks,
    Purse,
    costs,
    most_within,
    of_calls,
    of_money,
    of_peaks,
    of_starts,
    peaks,
)
from quarterdeck.testing.chaos.leftovers import of_machine, of_mirrors, of_repository
from quarterdeck.testing.chaos.proxy import Proxy
from quarterdeck.testing.chaos.scene import Scene, Size, git, make_scene
from quarterdeck.testing.chaos.stepped import Clock
from quarterdeck.testing.chaos.verdict import judged

pytestmark = pytest.mark.xdist_group("verdict")

RUN = "r-1"
FILES = {"c1": {"parts/c1.txt": "c1\n"}, "n1": {"parts/n1.txt": "n1 first\nn1 second\n", "parts/n1.md": "# n1\n"}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One in which a run has landed both of its tasks."""
    made = make_scene(tmp_path_factory.mktemp("scene"), Size(commands=1, natives=1), "postgresql://nowhere")
    work = made.folder / "work"
    git(made.folder, "clone", "-q", str(made.landing), str(work))
    git(work, "checkout", "-q", "-b", f"quarterdeck/{RUN}", made.base)
    for task, files in FILES.items():
        for path, text in files.items():
            (work / path).write_text(text)
        git(work, "add", ".")
        git(work, "commit", "-qm", f"Append {task}\n\nQuarterdeck-Task: {task}")
        git(work, "notes", "--ref=quarterdeck", "add", "-m", "thread")
    git(work, "push", "-q", "origin", f"quarterdeck/{RUN}", "refs/notes/quarterdeck")
    yield made
    made.ground.destroy()


# --- a story that is well -----------------------------------------------------------------------------------------


def change(task: str) -> Change:
    return Change(run=RUN, task=task, attempt=f"{RUN}.{task}.1", base="b", commit="c", tree="t")


def queued(task: str) -> e.ChangeQueued:
    return e.ChangeQueued(change=change(task), title=task, config_blob="b")


def landed(task: str) -> e.ChangeLanded:
    return e.ChangeLanded(attempt=f"{RUN}.{task}.1", old="a", new="b")


def dispatched(task: str, run: str = RUN, agent: str = "slow") -> e.TaskDispatched:
    return e.TaskDispatched(task=task, attempt=f"{run}.{task}.1", number=1, agent=agent)


def merged(task: str) -> e.TaskMerged:
    return e.TaskMerged(task=task, attempt=f"{RUN}.{task}.1", commit="c")


def created(run: str = RUN, repository: str = "git://remote.test/a") -> e.RunCreated:
    return e.RunCreated(
        run=run,
        goal="g",
        goal_blob="g",
        repository=repository,
        target="t",
        base="b",
        into="i",
        config_blob="c",
        budget_nusd=1,
        max_parallel=4,
        user="ada",
        sandbox="none",
    )


def ended(node: Node = Node.IMPLEMENT, outcome: Outcome = Outcome.OK) -> e.NodeFinished:
    return e.NodeFinished(node=node, outcome=outcome, attempt=f"{RUN}.n1.1")


def asked(step: int) -> e.ModelAsked:
    return e.ModelAsked(step=step, model="m", messages=1, request_hash="h", prefix_blob="p")


def answered(step: int) -> e.ModelAnswered:
    return e.ModelAnswered(step=step, model="m", message_blob="m", stop="end", usage=Usage(), cost_nusd=5)


def erred(reason: str) -> e.ModelErred:
    return e.ModelErred(step=2, model="m", failure=FailureClass.TRANSIENT, reason=reason, cost_nusd=2)


def intended(call: str) -> e.ToolIntended:
    return e.ToolIntended(step=1, call=call, tool="run", arguments_blob="a", arguments_hash="h", decision="allow")


def done(call: str, *flags: str) -> e.ToolDone:
    return e.ToolDone(step=1, call=call, tool="run", ok=True, result_blob="r", flags=flags)


def begun(incarnation: int) -> e.HarnessStarted:
    return e.HarnessStarted(incarnation=incarnation)


def over(incarnation: int, *, ok: bool = True) -> e.HarnessFinished:
    return e.HarnessFinished(incarnation=incarnation, ok=ok)


RUNS, COMMAND, NATIVE, GATE = f"run/{RUN}", f"attempt/{RUN}.c1.1", f"attempt/{RUN}.n1.1", "gate/g"
FINISHED = e.RunFinished(status=e.RunStatus.DONE, exit_code=0, sha="s")
REPORTED = e.RunReported(report_blob=None, retrospective_blob=None)


@dataclass
class Story:
    """What a run left, to be made worse."""

    scene: Scene
    result: dict[str, Any] | None
    events: dict[str, list[e.EventBase]] = field(default_factory=dict)
    short: bool = False

    def add(self, stream: str, *events: e.EventBase) -> None:
        self.events[stream] += events

    def drop(self, stream: str, kind: type[e.EventBase]) -> None:
        self.events[stream] = [event for event in self.events[stream] if not isinstance(event, kind)]

    def findings(self) -> list[str]:
        streams = {
            name: [Record(name, seq, 0.0, 1, event, "h") for seq, event in enumerate(events, start=1)]
            for name, events in self.events.items()
        }
        return [*judged(self.scene, RUN, self.result, streams, delays=True, short=self.short).violations]


def well(scene: Scene) -> Story:
    tip = git(scene.landing, "rev-parse", f"quarterdeck/{RUN}")
    tasks = [{"id": task, "status": "merged", "attempts": 1, "reason": ""} for task in FILES]
    result = {"status": "done", "exit_code": 0, "reason": "", "tasks": tasks, "target": {"sha": tip}}
    planned = e.RunPlanned(plan_blob="p", tasks=2)
    sent = [event for task in FILES for event in (queued(task), landed(task))]
    checked = e.GateCheckFinished(check="k", tree="t", passed=True)
    return Story(
        scene,
        result,
        {
            RUNS: [created(), planned, *map(dispatched, FILES), *map(merged, FILES), REPORTED, FINISHED],
            COMMAND: [begun(1), over(1), ended()],
            NATIVE: [asked(1), answered(1), intended("a"), done("a"), ended()],
            GATE: [*sent, checked],
        },
    )


def short(scene: Scene) -> Story:
    """One whose money was not enough for one of its tasks."""
    story = well(scene)
    assert story.result is not None
    story.short = True
    story.result |= {"status": "partial", "exit_code": Exit.BUDGET}
    story.result["tasks"][1]["status"] = "failed"
    story.events[RUNS].remove(merged("n1"))
    story.events[GATE] = [queued("c1"), landed("c1")]
    story.events[NATIVE][-1] = ended(outcome=Outcome.EXHAUSTED)
    return story


def set_result(**values: Any) -> Callable[[Story], None]:
    def change_it(story: Story) -> None:
        assert story.result is not None
        story.result |= values

    return change_it


def set_task(**values: Any) -> Callable[[Story], None]:
    def change_it(story: Story) -> None:
        assert story.result is not None
        story.result["tasks"][0] |= values

    return change_it


def no_result(story: Story) -> None:
    story.result = None


def more(stream: str, *events: e.EventBase) -> Callable[[Story], None]:
    return lambda story: story.add(stream, *events)


def less(stream: str, kind: type[e.EventBase]) -> Callable[[Story], None]:
    return lambda story: story.drop(stream, kind)


def another_tree(story: Story) -> None:
    story.scene = replace(story.scene, tree=git(story.scene.landing, "rev-parse", f"{story.scene.base}^{{tree}}"))


def another_base(story: Story) -> None:
    story.scene = replace(story.scene, base=git(story.scene.landing, "rev-parse", f"quarterdeck/{RUN}~1"))


BAD: dict[str, tuple[Callable[[Story], None], str]] = {
    "it never ended": (no_result, "no run.finished"),
    "it failed": (set_result(status="failed", exit_code=1), "the run is failed"),
    "a task is missing": (set_result(tasks=[]), "tasks are []"),
    "a task is not merged": (set_task(status="failed"), "c1 is failed"),
    "a kill counted": (set_task(attempts=2), "counts 2 attempts"),
    "another tip": (set_result(target={"sha": "0"}), "the result says 0"),
    "another tree": (another_tree, "the tree is"),
    "a commit is lost": (another_base, "task c1 was merged 0 times"),
    "dispatched twice": (more(RUNS, dispatched("c1")), "c1 was dispatched 2"),
    "merged twice on record": (more(RUNS, merged("c1")), "merged 2 times"),
    "a node ended twice for its run": (more(RUNS, ended(), ended()), "implement of r-1.n1.1 ended 2 times"),
    "created twice": (more(RUNS, created()), "2 records of RunCreated"),
    "planned twice": (more(RUNS, e.RunPlanned(plan_blob="p", tasks=2)), "2 records of RunPlanned"),
    "never reported": (less(RUNS, e.RunReported), "0 records of RunReported"),
    "finished twice": (more(RUNS, FINISHED), "2 records of RunFinished"),
    "an intent without outcome": (more(NATIVE, intended("b")), "tool calls"),
    "two outcomes": (more(NATIVE, done("a")), "tool calls"),
    "a command ran again": (more(NATIVE, intended("b"), done("b", "rerun")), "run was run again"),
    "a step answered twice": (more(NATIVE, asked(1), answered(1)), "step 1 was answered 2 times"),
    "a call without outcome": (more(NATIVE, asked(2)), "2 model calls have 1 outcomes"),
    "a call failed": (more(NATIVE, asked(2), erred("overloaded")), "a model call failed: overloaded"),
    "a node failed": (more(NATIVE, ended(Node.CHECK, Outcome.FAILED)), "check ended with failed"),
    "a node ended for want of money": (more(NATIVE, ended(Node.CHECK, Outcome.EXHAUSTED)), "ended with exhausted"),
    "a node ended twice": (more(NATIVE, ended()), "implement ended 2 times"),
    "an agent started again": (more(COMMAND, begun(2)), "was started again"),
    "an agent begun twice in one place": (lambda s: s.events.update({COMMAND: [begun(1), begun(1)]}), "started again"),
    "an agent failed": (lambda s: s.events.update({COMMAND: [begun(1), over(1, ok=False)]}), "as a failure"),
    "landed twice": (more(GATE, landed("c1")), "landed 2 times"),
    "queued and not landed": (lambda s: s.events[GATE].remove(landed("c1")), "landed 0 times"),
    "queued twice": (more(GATE, queued("n1")), "queued 2"),
    "sent back": (
        more(GATE, e.ChangeReturned(attempt=f"{RUN}.c1.1", outcome=Outcome.CONFLICT, reason="r")),
        "change.returned",
    ),
    "a flake": (more(GATE, e.FlakeSeen(tree="t", check="k")), "flake.seen"),
    "somebody else moved the branch": (more(GATE, e.TipMoved(old="a", new="b")), "tip.moved"),
    "a check of the gate failed": (more(GATE, e.GateCheckFinished(check="k", tree="t", passed=False)), "gate's check"),
}


def test_a_run_that_is_well_has_no_finding(scene: Scene) -> None:
    assert well(scene).findings() == []
    cut_off = well(scene)
    cut_off.add(NATIVE, asked(2), erred("the process ended"))
    cut_off.add(NATIVE, asked(2), erred("anthropic:scripted broke off: Connection reset by peer"))
    assert cut_off.findings() == []


@pytest.mark.parametrize("name", BAD)
def test_each_rule_about_a_run_can_fail(name: str, scene: Scene) -> None:
    worsen, word = BAD[name]
    story = well(scene)
    worsen(story)
    found = story.findings()
    assert any(word in text for text in found), found


BRANCHES: dict[str, tuple[tuple[tuple[str, ...], ...], str]] = {
    "another commit": ((("commit", "--allow-empty", "-qm", "x"),), "the branch holds other commits"),
    "merged twice": (
        (("commit", "--allow-empty", "-qm", "x\n\nQuarterdeck-Task: c1"),),
        "task c1 was merged 2 times",
    ),
    "a merge commit": (
        (
            ("checkout", "-q", "-b", "side", "HEAD~1"),
            ("commit", "--allow-empty", "-qm", "x"),
            ("checkout", "-q", f"quarterdeck/{RUN}"),
            ("merge", "-q", "--no-ff", "-m", "y", "side"),
        ),
        "not one line of commits",
    ),
    "no note": ((("commit", "--amend", "-qm", "Another text\n\nQuarterdeck-Task: n1"),), "commits without a note"),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_each_rule_about_a_branch_can_fail(name: str, scene: Scene, tmp_path: Path) -> None:
    commands, word = BRANCHES[name]
    copied = replace(scene, folder=tmp_path)
    git(tmp_path, "clone", "-q", "--mirror", str(scene.landing), str(copied.landing))
    git(tmp_path, "clone", "-q", "--branch", f"quarterdeck/{RUN}", str(copied.landing), str(tmp_path / "work"))
    git(tmp_path, "clone", "-q", str(scene.repository), str(tmp_path / "expected"))
    for command in commands:
        git(tmp_path / "work", *command)
    git(tmp_path / "work", "push", "-qf", "origin", f"quarterdeck/{RUN}")
    found = replace(well(scene), scene=copied).findings()
    assert any(word in text for text in found), found


def test_a_run_without_enough_money_is_judged_by_what_it_could_do(scene: Scene, tmp_path: Path) -> None:
    copied = replace(scene, folder=tmp_path)
    git(tmp_path, "clone", "-q", "--mirror", str(scene.landing), str(copied.landing))
    only_first = git(copied.landing, "rev-parse", f"quarterdeck/{RUN}~1")
    git(copied.landing, "update-ref", f"refs/heads/quarterdeck/{RUN}", only_first)

    def story() -> Story:
        made = replace(short(scene), scene=copied)
        set_result(target={"sha": only_first})(made)
        return made

    assert story().findings() == []
    enough = story()
    set_result(status="done", exit_code=0)(enough)
    assert any("its money was not enough" in text for text in enough.findings())
    assert any("no run.finished" in text for text in replace(story(), result=None).findings())
    again = story()
    set_task(attempts=2)(again)
    assert any("more than one attempt" in text for text in again.findings())
    landed_all = replace(short(scene), short=True)  # the branch of the other scene has both tasks
    assert any("holds other commits: ['n1']" in text for text in landed_all.findings())
    everything = replace(well(scene), short=True)
    assert any("more was done" in text for text in everything.findings())


# --- what is left ---------------------------------------------------------------------------------------------------


def test_each_rule_about_what_is_left_can_fail(tmp_path: Path) -> None:
    made = make_scene(tmp_path, Size(commands=1), "postgresql://nowhere")
    ground = made.ground
    try:
        mirror = ground.mirrors / "m"
        ground.workspaces.mkdir(parents=True)
        git(tmp_path, "clone", "-q", "--mirror", str(made.landing), str(mirror))
        assert [*of_repository(made), *of_mirrors(made), *of_machine(made)] == []

        (ground.workspaces / "r-1.c1.1").mkdir()
        assert [*of_machine(made)] == ["a workspace is left: r-1.c1.1"]
        seen = f"{ground.workspaces}/r-1.c1.1/w"
        with subprocess.Popen(["sh", "-c", 'read line; : "$0"', seen], stdin=subprocess.PIPE) as inmate:
            assert any(f"a sandbox's process is left in r-1.c1.1: {inmate.pid}" in text for text in of_machine(made))

        (mirror / "refs" / "heads" / "main.lock").touch()
        assert any("left lying" in text for text in of_mirrors(made))
        (mirror / "refs" / "heads" / "main.lock").unlink()
        for path in [*mirror.glob("objects/pack/*"), *mirror.glob("objects/??/*")]:
            path.unlink()
        assert any("git fsck" in text for text in of_mirrors(made))

        git(made.landing, "update-ref", "refs/heads/other", made.base)
        assert any("unexpected ref" in text for text in of_repository(made))
        (made.repository / "new").touch()
        assert any("checkout changed" in text for text in of_repository(made))
    finally:
        ground.destroy()


# --- limits ---------------------------------------------------------------------------------------------------------

LIMITS = Caps(agents=3, one_agent=2, repository=2, starts=2, calls=6)


def row(event: e.EventBase, run: str = RUN, *, at: float = 0.0, transaction: int = 0) -> Committed:
    return Committed(at, transaction or id(event), f"run/{run}", event)


def gated(task: str) -> e.NodeStarted:
    return e.NodeStarted(node=Node.GATE, task=task, attempt=f"{RUN}.{task}.1")


def test_who_is_at_work_is_counted_from_dispatch_to_gate() -> None:
    other = "r-2"
    history = [
        row(created()),
        row(created(other, "git://remote.test/b"), other),
        row(dispatched("c1")),
        row(dispatched("n1", agent="native")),
        row(dispatched("c1", other), other),
        row(gated("c1")),
        row(dispatched("c2")),
    ]
    assert peaks(history) == Peaks(agents=3, one_agent=2, repository=2)
    assert [*of_peaks(peaks(history), LIMITS)] == []
    one_more = [*history, row(dispatched("c3"))]
    assert peaks(one_more) == Peaks(agents=4, one_agent=3, repository=3)
    assert [text.partition(" ")[0] for text in of_peaks(peaks(one_more), LIMITS)] == [
        "agents_at_once",
        "one_agent_at_once",
        "repository_at_once",
    ]


def test_a_place_that_is_freed_and_taken_in_one_commit_was_never_taken_twice() -> None:
    history = [
        row(created()),
        row(dispatched("c1")),
        row(dispatched("c2"), transaction=7),
        row(gated("c1"), transaction=7),
    ]
    assert peaks(history).agents == 1
    apart = [replace(record, transaction=number) for number, record in enumerate(history)]
    assert peaks(apart).agents == 2


@pytest.mark.parametrize(
    "event",
    [
        merged("c1"),
        gated("c1"),
        e.TaskFailed(task="c1", reason="r"),
        e.TaskCancelled(task="c1"),
        e.TaskBlocked(task="c1", reason="r"),
        e.TaskEscalated(task="c1", attempt="a", agent="x", question="q"),
        e.NodeStarted(node=Node.APPROVE, task="c1"),
        FINISHED,
        e.RunWaiting(reason="r"),
        e.RunPaused(by="ada"),
    ],
)
def test_whatever_ends_work_frees_its_place(event: e.EventBase) -> None:
    assert peaks([row(created()), row(dispatched("c1")), row(event), row(dispatched("c2"))]).agents == 1


def test_moments_are_counted_in_every_stretch() -> None:
    assert most_within([], 60) == 0
    assert most_within([0, 60, 120], 60) == 1
    assert most_within([0, 59, 61, 62], 60) == 3


def test_starts_are_held_against_their_turns() -> None:
    history = [row(dispatched(task), at=at) for task, at in (("c1", 10.0), ("c2", 11.0), ("c3", 80.0))]
    kept = {f"{RUN}.c1.1": 10.0, f"{RUN}.c2.1": 11.0, f"{RUN}.c3.1": 70.0}
    assert [*of_starts(history, kept, LIMITS)] == []
    assert "3 had their turn within a minute" in next(of_starts(history, kept | {f"{RUN}.c3.1": 30.0}, LIMITS))
    assert "before its turn" in next(of_starts(history, kept | {f"{RUN}.c3.1": 90.0}, LIMITS))
    assert "no turn was kept" in next(of_starts([*history, row(dispatched("c4"), at=200.0)], kept, LIMITS))


def test_calls_are_counted_where_they_arrive() -> None:
    allowed = [float(number) for number in range(6 + 2)]
    assert [*of_calls(allowed, LIMITS, workers=2)] == []
    assert "9 came within a minute" in next(of_calls([*allowed, 9.0], LIMITS, workers=2))


MONEY = {"run/r-1": Purse(10, 7, 0), "user/ada/2026-11-21": Purse(None, 7, 0), "deck/2026-11-21": Purse(None, 7, 0)}


@pytest.mark.parametrize(
    ("purses", "shown", "word"),
    [
        ({"run/r-1": Purse(6, 7, 0)}, 7, "has a cap of 6"),
        ({"run/r-1": Purse(10, 7, 3)}, 7, "still has 3"),
        ({"run/r-1": Purse(10, 8, 0)}, 7, "8 by its purse"),
        ({"deck/2026-11-21": Purse(None, 9, 0)}, 7, "the days' purses say 9"),
        ({}, 6, "6 as shown"),
    ],
)
def test_each_rule_about_money_can_fail(purses: dict[str, Purse], shown: int, word: str) -> None:
    calls = [Committed(0.0, 1, NATIVE, answered(1)), Committed(0.0, 2, NATIVE, erred("the process ended"))]
    assert costs(calls) == {RUN: 7}
    assert [*of_money(MONEY, costs(calls), {RUN: 7})] == []
    found = [*of_money(MONEY | purses, costs(calls), {RUN: shown})]
    assert any(word in text for text in found), found


# --- faults that are seen -------------------------------------------------------------------------------------------


async def test_a_way_that_is_cut_or_lost_is_seen_to_be() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.write(b"bye")
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    way = Proxy(lambda: ("127.0.0.1", port))
    await way.start()
    try:
        assert way.cut() == 0
        reader, writer = await asyncio.open_connection("127.0.0.1", way.port)
        writer.write(b"12345")
        assert await reader.readexactly(5) == b"12345"
        assert (way.heard, way.connections) == (5, 1)

        way.lose()
        writer.write(b"678")
        await writer.drain()
        _, beside = await asyncio.open_connection("127.0.0.1", port)  # a round through the loop and the network
        beside.close()
        assert way.heard == 5
        way.find()
        assert await reader.readexactly(3) == b"678"

        writer.write_eof()  # as git does when it has sent all: the answer still comes
        assert await reader.read() == b"bye"
        writer.close()

        reader, writer = await asyncio.open_connection("127.0.0.1", way.port)
        writer.write(b"9")
        await reader.readexactly(1)
        assert way.cut() == 1
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
    finally:
        await way.close()
        server.close()


def test_a_clock_tells_whether_it_was_asked_while_it_was_off(tmp_path: Path) -> None:
    mine, theirs = Clock(tmp_path / "clock"), Clock(tmp_path / "clock")
    before = theirs.now()
    assert mine.asked == 0
    mine.step(-3600.0)
    assert theirs.now() < before - 3000
    assert mine.asked == 1
    mine.step(0.0)
    assert theirs.now() >= before
    assert mine.asked == 1
