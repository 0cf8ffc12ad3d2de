"""Killed with SIGKILL at any moment, a run goes on: nothing is lost, nothing finished is done twice.

Every test works with processes of the shipped command, kills them, carries their runs to the end, and holds the
journal, the branch, the user's repository and the machine against what an undisturbed run leaves.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from kill_kit import MakeScene, carry_on, newest_run, order, scenes

from quarterdeck.kernel import probes
from quarterdeck.testing.chaos.campaign import campaign
from quarterdeck.testing.chaos.processes import Seen, Worker, model_server
from quarterdeck.testing.chaos.scene import Scene, Size
from quarterdeck.testing.chaos.verdict import judge, sandbox_processes

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

PLAIN = Size(commands=2, seconds=0.0, parallel=4)
NATIVE = Size(commands=0, natives=1, seconds=0.0, parallel=4, review=True)
"""Together they reach every probe point."""
LARGE = Size(commands=14, chained=6, natives=2, seconds=1.0, parallel=8)
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


@pytest.mark.timeout(240)
@pytest.mark.parametrize("point", probes.NAMES)
def test_killed_at(point: str, scene: MakeScene) -> None:
    """At the first time that the point is reached, then at the second time, if it comes to that."""
    size = NATIVE if point.startswith(("model.", "tool.")) else PLAIN
    small, seen, kills, run = scene(size), Seen(), 0, ""
    with model_server(small) as model:
        while True:
            probe = f"{point}:{kills + 1}:kill" if kills < 2 else ""
            arguments = ("resume", run) if run else order(small)
            with Worker(small, *arguments, seen=seen, model_url=model.url, probe=probe) as worker:
                code = worker.finish()
            if code != -signal.SIGKILL:
                break
            kills += 1
            run = run or newest_run(small)
            assert run, "a run exists as soon as anything of it is reached"
    assert kills, "the point was never reached"
    assert code == 0, worker.errors
    verdict = judge(small, run, worker.result)
    assert [*verdict.violations, *seen.rewritten] == []
    # Each kill may cost the call in flight of each agent, never one that was answered.
    assert verdict.model_calls <= model.requests <= verdict.model_calls + verdict.redone.calls
    assert calls(size) <= verdict.model_calls <= calls(size) + verdict.redone.tools
    assert verdict.redone.total <= kills * size.tasks


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_random_moments(seed: int, scene: MakeScene) -> None:
    large = scene(LARGE)
    with model_server(large) as model:
        tally = campaign(large, kills=17, seed=seed, model_url=model.url, groups=seed == 3)
    assert tally.violations == []
    assert tally.kills == 17
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
        left = sandbox_processes(few)
        assert left, "agents are at work"
        assert worker.kill(group=True)
    for pid, _ in left:
        _kill(pid)
    verdict = carry_on(few, worker.run, seen=seen)
    assert [*verdict.violations, *seen.rewritten] == []
    assert 1 <= verdict.redone.agents <= FEW.parallel


@pytest.mark.parametrize("victim", ["bwrap", "worker", "everything"])
@pytest.mark.parametrize("at", ["harness.started", "tool.intended", "node.started", "gate.check.started"])
def test_a_sandbox_killed_under_a_living_deck_is_nobodys_fault(victim: str, at: str, scene: MakeScene) -> None:
    size = Size(commands=2, natives=1, seconds=0.5, parallel=4, checks=0.5)
    few = scene(size)
    with model_server(few) as model, Worker(few, *order(few), seen=Seen(), model_url=model.url) as worker:
        assert worker.until(2, kind=at)
        hit = _strike(few, worker, victim)
        assert worker.finish() == 0, worker.errors
    assert hit, "no sandbox was found"
    verdict = judge(few, worker.run, worker.result, delays=True)
    assert verdict.violations == ()


def _strike(scene: Scene, worker: Worker, victim: str) -> int:
    """Kill the processes of that kind that sandboxes have now; how many."""
    while not (found := _victims(scene, victim)):
        if worker.read(1.0) is None and worker.ended:
            return 0
    return sum(_kill(pid) for pid in found)


def _victims(scene: Scene, victim: str) -> list[int]:
    processes = sandbox_processes(scene)
    outer = [pid for pid, words in processes if words.split()[0].endswith("bwrap")]
    inner = [pid for pid, words in processes if not words.split()[0].endswith("bwrap") and "python" in words]
    return {"bwrap": outer, "worker": inner, "everything": [pid for pid, _ in processes]}[victim]


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
