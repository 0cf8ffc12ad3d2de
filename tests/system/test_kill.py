"""Killed with SIGKILL at any moment, a run goes on: nothing is lost, nothing finished is done twice.

Every test works with processes of the shipped command, kills them, carries their runs to the end, and holds the
journal, the branch, the user's repository and the machine against what an undisturbed run leaves.
"""

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import store_kit
from kill_kit import MakeScene, carry_on, newest_run, order, scenes

from quarterdeck.delivery.nodes.node import MAX_DEATHS
from quarterdeck.kernel import probes
from quarterdeck.kernel.failures import Exit
from quarterdeck.testing.chaos.campaign import campaign
from quarterdeck.testing.chaos.leftovers import inmates
from quarterdeck.testing.chaos.processes import Model, Seen, Worker, kill_all, model_server
from quarterdeck.testing.chaos.scene import Scene, Size, git
from quarterdeck.testing.chaos.verdict import judge

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

PLAIN = Size(commands=2, seconds=0.0, parallel=4)
JOINING = Size(commands=0, joining=2, seconds=1.0, parallel=4)
NATIVE = Size(commands=0, natives=1, seconds=0.0, parallel=4, review=True)
"""Together they reach every probe point."""
LARGE = Size(commands=14, chained=6, natives=2, seconds=1.0, parallel=8)
EFFECT = 3
"""Which tool call of a native attempt is the first that has an effect which must not be repeated."""
OUTSIDE = ("trigger.", "publish.", "notice.")
"""Points on the way to and from the world outside: `test_triggers_kill.py`."""
TAKING_BACK = ("gate.accused", "gate.reverting", "gate.reverted")
"""Points that are reached only where something landed by luck."""
ONCE = (
    "attempt.claimed",
    "change.exported",
    "change.pinned",
    "gate.intended",
    "gate.moved",
    "model.replied",
    "node.finished",
    "tool.effected",
)
"""Points before or after an effect."""
CALLS = 5
"""Model calls of an undisturbed native attempt."""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[MakeScene]:
    yield from scenes(tmp_path)


@pytest.mark.parametrize("size", [PLAIN, NATIVE], ids=["plain", "native"])
def test_an_undisturbed_run_ends_as_expected(size: Size, scene: MakeScene) -> None:
    small = scene(size)
    with model_server(small) as model, Worker(small, *order(small), seen=Seen(), model_url=model.url) as worker:
        assert worker.finish() == 0, worker.errors
    verdict = judge(small, worker.run, worker.result)
    assert verdict.violations == ()
    assert (verdict.attempts, verdict.redone.total) == (size.tasks, 0)
    assert model.requests == verdict.model_calls == calls(size)


def calls(size: Size) -> int:
    """Model calls of an undisturbed run."""
    return CALLS * size.natives + size.tasks * size.review


def points() -> Iterator[Any]:
    """Where to kill; on PostgreSQL, around what must not happen twice."""
    alike = pytest.mark.embedded("SIGKILL at any moment of a deck on PostgreSQL is `make chaos`")
    for name in probes.NAMES:
        if not name.startswith((*OUTSIDE, *TAKING_BACK)):
            yield name if name in ONCE else pytest.param(name, marks=alike)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("point", list(points()))
def test_killed_at(point: str, scene: MakeScene) -> None:
    """At the first time that the point is reached, then at the second time, if it comes to that."""
    first = EFFECT if point.startswith("tool.") else 1
    size = NATIVE if point.startswith(("model.", "tool.")) else JOINING if point == "gate.resolved" else PLAIN
    small, seen, kills, run = scene(size), Seen(), 0, ""
    with model_server(small) if size is NATIVE else nullcontext(Model()) as model:
        while True:
            probe = f"{point}:{2 if kills else first}:kill" if kills < 2 else ""
            arguments = ("resume", run) if run else order(small)
            with Worker(small, *arguments, seen=seen, model_url=model.url, probe=probe) as worker:
                code = worker.finish()
            if code != -signal.SIGKILL:
                break
            kills += 1
            run = run or worker.run or newest_run(small)
            assert run, "a run exists as soon as anything of it is reached"
    assert kills, "the point was never reached"
    assert code == 0, worker.errors
    verdict = judge(small, run, worker.result)
    assert [*verdict.violations, *seen.rewritten] == []
    # Each kill may cost the call in flight of each agent, never one that was answered.
    assert verdict.model_calls <= model.requests <= verdict.model_calls + verdict.redone.calls
    assert calls(size) <= verdict.model_calls <= calls(size) + verdict.redone.tools
    assert verdict.redone.total <= kills * size.tasks


@pytest.mark.timeout(240)
def test_killed_while_a_landed_change_is_taken_back(scene: MakeScene) -> None:
    """At each point on the way, and where the target has just been moved by it: it is done once."""
    small, seen, run, kills = scene(PLAIN), Seen(), "", 0
    with luck(small):
        for point in (*TAKING_BACK[:2], "gate.moved", TAKING_BACK[2], ""):
            arguments = ("resume", run) if run else order(small)
            with Worker(small, *arguments, seen=seen, probe=f"{point}:1:kill" if point else "") as worker:
                code = worker.finish()
            kills += code == -signal.SIGKILL
            run = run or worker.run
    assert kills == len(TAKING_BACK) + 1, "a point was never reached"
    assert code == 0, worker.errors
    assert worker.result is not None
    assert worker.result["status"] == "done"
    assert seen.rewritten == []
    target = worker.result["target"]["sha"]
    subjects = git(small.landing, "log", "--reverse", "--format=%s", f"{small.base}..{target}").splitlines()
    assert subjects[:2] == ["Append c1", 'Revert "Append c1"']
    assert sorted(subjects[2:]) == ["Append c1", "Append c2"]
    files = git(small.landing, "ls-tree", "-r", "--name-only", target).splitlines()
    assert "parts/LUCKY" not in files
    events = [line["event"] for (stream, _), line in seen.records.items() if stream.startswith("gate/")]
    passed = {event["tree"] for event in events if event["kind"] == "gate.check.finished" and event["passed"]}
    moves = [event["tree"] for event in events if event["kind"] == "landing.intended"]
    assert passed.issuperset(moves), "the target was moved to what had not passed"
    assert [event["attempt"] for event in events if event["kind"] == "change.reverted"] == [f"{run}.c1.1"]


@contextmanager
def luck(scene: Scene) -> Iterator[None]:
    """The first attempt at c1 leaves what passes once; c2 goes on from it. What is used up lies outside, so that the
    checks run without a sandbox."""
    scratch = Path(tempfile.mkdtemp(prefix="quarterdeck-test-", dir="/var/tmp"))
    scratch.chmod(0o777)
    (scratch / "luck").touch()
    agent = scene.home / "agents" / "slow.md"
    text = agent.read_text()
    assert text.count(_WORKS) == 1
    agent.write_text(text.replace(_WORKS, f"{_LUCKY}; {_WORKS}"))
    deck = scene.home / "deck.toml"
    check = f"test ! -e parts/LUCKY || mv {scratch}/luck {scratch}/spent"
    text = deck.read_text().replace("gate = [", f'gate = ["{check}", ')
    deck.write_text(text.replace("[sandbox]", '[sandbox]\nbackend = "none"'))
    plan = json.loads(scene.plan.read_text())
    plan["tasks"][0]["paths"].append("parts/LUCKY")
    plan["tasks"][1]["needs"] = ["c1"]
    scene.plan.write_text(json.dumps(plan))
    try:
        yield
    finally:
        shutil.rmtree(scratch)


_WORKS = "time.sleep(float(sys.argv[1]))"
_LUCKY = "d['task']['id'] == 'c1' and d['attempt'] == 1 and open('parts/LUCKY', 'w').close()"


@pytest.mark.timeout(400)
def test_killed_at_random_moments(scene: MakeScene) -> None:
    """A few, some of them with everything below; the soak (`bench.kill_soak`) has as many as one likes."""
    large = scene(LARGE)
    with model_server(large) as model:
        tally = campaign(large, kills=6, seed=2, model_url=model.url, trees=True)
    assert tally.violations == []
    assert tally.kills == 6
    assert tally.attempts >= 20 * tally.runs
    assert tally.repeated <= tally.kills * LARGE.parallel
    calls = sum(redone.calls for redone in tally.redone)
    assert tally.model_calls <= model.requests <= tally.model_calls + calls


# --- who goes on ------------------------------------------------------------------------------------------

FEW = Size(commands=3, chained=1, seconds=0.5, parallel=4)


def test_a_follower_of_the_same_run_takes_over(scene: MakeScene) -> None:
    few, seen = scene(FEW), Seen()
    with Worker(few, *order(few), seen=seen) as owner:
        assert owner.until(kind="harness.started")
        with Worker(few, "resume", owner.run, seen=Seen()) as follower:
            assert follower.until(kind="run.created")
            assert owner.kill()
            assert follower.finish() == 0, follower.errors
            assert follower.run == owner.run
    assert judge(few, owner.run, follower.result).violations == ()


def test_a_second_run_takes_the_first_one_over_with_the_deck(scene: MakeScene) -> None:
    few = scene(FEW)
    with Worker(few, *order(few), seen=Seen()) as owner:
        assert owner.until(kind="harness.started")
        with Worker(few, *order(few), seen=Seen()) as second:
            assert second.until(kind="run.created")
            assert owner.kill()
            assert second.finish() == 0, second.errors
    assert second.run != owner.run
    # The second process served until nothing was left: also what the first one had begun.
    with Worker(few, "resume", owner.run, seen=Seen(), probe="attempt.claimed:1:kill") as first:
        assert first.finish() == 0, first.errors
    assert judge(few, owner.run, first.result).violations == ()
    assert judge(few, second.run, second.result).violations == ()


def test_killed_with_everything_it_started(scene: MakeScene) -> None:
    few, seen = scene(FEW), Seen()
    with Worker(few, *order(few), seen=seen) as worker:
        assert worker.until(3, kind="harness.started")
        assert inmates(few), "agents are at work"
        assert worker.kill(tree=True)
    assert inmates(few) == []
    verdict = carry_on(few, worker.run, seen=seen)
    assert [*verdict.violations, *seen.rewritten] == []
    assert 1 <= verdict.redone.agents <= FEW.parallel


@pytest.mark.parametrize(
    "victim", store_kit.first_on_both("what differs is what dies in the sandbox", ["everything", "bwrap", "worker"])
)
def test_a_sandbox_killed_under_a_living_deck_is_nobodys_fault(victim: str, scene: MakeScene) -> None:
    """Under a command agent, a tool, the check of a task and the check of a merged tree."""
    few = scene(Size(commands=2, natives=1, seconds=0.5, parallel=4, checks=0.5))
    with model_server(few) as model, Worker(few, *order(few), seen=Seen(), model_url=model.url) as worker:
        for moment in ("harness.started", "tool.intended", "node.started", "gate.check.started"):
            assert worker.until(kind=moment)
            while worker.newest["event"].get("node", "check") != "check":
                assert worker.until(kind=moment)
            assert _strike(few, worker, victim), f"a sandbox is at work: {worker.newest}"
        assert worker.finish() == 0, worker.errors
    verdict = judge(few, worker.run, worker.result, delays=True)
    assert verdict.violations == ()


def _strike(scene: Scene, worker: Worker, victim: str) -> int:
    """Kill what is in the sandbox of the newest record; how many processes."""
    event, stream = worker.newest["event"], worker.newest["stream"]
    place = event.get("check") or event.get("attempt") or stream.partition("/")[2]
    place = f"{place}-check" if event.get("node") == "check" else f"{place}-"
    while not (found := _victims(scene, victim, place)):
        if worker.read(0.02) is None and worker.ended:
            return 0
    return kill_all(found)


def _victims(scene: Scene, victim: str, place: str) -> list[int]:
    found = inmates(scene, place)
    launchers = [inmate.pid for inmate in found if inmate.launcher]
    inside = [inmate.pid for inmate in found if not inmate.launcher and "python" in inmate.words]
    if not inside:
        return []
    return {"bwrap": launchers, "worker": inside, "everything": [*launchers, *inside]}[victim]


@pytest.mark.parametrize("where", ["agent", "verify"])
def test_a_sandbox_that_dies_each_time_fails_in_the_end(where: str, scene: MakeScene) -> None:
    """Not for ever: a program may end its sandbox as well as the machine can."""
    one, seen, deadly = scene(Size(commands=1, seconds=0.0)), Seen(), "sleep 61.25; :"
    if where == "agent":
        agent = f"---\nname: slow\nharness: command\ncommand: {json.dumps(['sh', '-c', deadly])}\n---\n"
        (one.home / "agents" / "slow.md").write_text(agent)
    else:
        plan = json.loads(one.plan.read_text())
        plan["tasks"][0]["verify"] = [deadly]
        one.plan.write_text(json.dumps(plan))
    with (one.home / "deck.toml").open("a") as file:
        file.write("[limits]\nattempts = 1\n")
    with Worker(one, *order(one), seen=seen) as worker:
        while not worker.ended:
            worker.read(0.05)
            if any(inmate.words.startswith("sleep 61.25") for inmate in inmates(one)):
                kill_all(_victims(one, "worker", ""))
        assert worker.finish() == Exit.FAILED, worker.errors
    assert worker.result is not None
    assert worker.result["tasks"][0]["status"] == "failed"
    assert "sandbox" in worker.result["tasks"][0]["reason"]
    delays = [line for line in seen.records.values() if line["event"]["kind"] == "node.delayed"]
    assert len(delays) == (MAX_DEATHS if where == "agent" else 0)
    assert inmates(one) == []
