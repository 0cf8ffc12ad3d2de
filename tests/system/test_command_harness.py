"""Any program is an agent: what it is told, what its ending means, what is on record."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agent_kit import TASK, Kit, kit

from quarterdeck.agents.command import CommandHarness
from quarterdeck.agents.port import Finished
from quarterdeck.kernel import probes
from quarterdeck.kernel.entities import Agent, AgentLimits, Feedback, Harness, Plan, Review, Submission
from quarterdeck.kernel.events import HandoffRefused, HarnessFinished, HarnessStarted, LimitReached, Outcome
from quarterdeck.kernel.failures import FailureClass, StaleClaim


@pytest.fixture
async def deck(tmp_path: Path) -> AsyncIterator[Kit]:
    async with kit(tmp_path) as made:
        yield made


async def work(deck: Kit, script: str, *, expects: str = "submission", wall: float = 30.0, **fields: Any) -> Finished:
    agent = Agent(
        name="tool", harness=Harness.COMMAND, command=("sh", "-c", script), expects=expects,
        limits=AgentLimits(wall=wall),
    )  # fmt: skip
    return await CommandHarness(deck.journal).work(await deck.assignment(agent, **fields))


async def test_the_task_is_on_stdin_and_in_a_file_outside_of_the_workspace(deck: Kit) -> None:
    feedback = (Feedback(source="verify", reason="é failed"),)
    finished = await work(
        deck,
        'cat > stdin.json; cp "$QUARTERDECK_TASK" file.json; printf %s "$QUARTERDECK_TASK" > where',
        feedback=feedback,
    )
    assert finished.outcome is Outcome.OK
    document = json.loads(await deck.file("stdin.json"))
    assert document == json.loads(await deck.file("file.json"))
    assert document["v"] == 1
    assert document["attempt"] == 1
    assert document["task"]["id"] == "greet"
    assert document["task"]["paths"] == list(TASK.paths)
    assert document["feedback"][0]["reason"] == "é failed"
    path = await deck.file("where")
    assert path.startswith("/")
    assert not path.startswith("/workspace")
    listing = await deck.sandbox.exec(("ls", path), timeout=10)
    assert listing.exit_code != 0, "the task file must be gone when the program has ended"


async def test_the_last_line_is_the_handoff(deck: Kit) -> None:
    script = """echo '{"level": "info"}'; echo '{"summary": "did it", "limitations": ["slow"], "cost": 3}'; echo"""
    finished = await work(deck, script)
    assert finished.handoff == Submission(summary="did it", limitations=("slow",))
    events = await deck.events()
    assert [type(event) for event in events] == [HarnessStarted, HarnessFinished]
    done = events[1]
    assert isinstance(done, HarnessFinished)
    assert done.ok
    assert done.exit_code == 0
    assert done.output_blob is not None
    assert b'"level": "info"' in await deck.journal.get(done.output_blob)


@pytest.mark.parametrize("line", ["done.", "[1, 2]", '{"level": "info"}', "{" * 2000, ""])
async def test_without_a_handoff_the_change_speaks_for_itself(deck: Kit, line: str) -> None:
    finished = await work(deck, f"echo '{line}'")
    assert isinstance(finished.handoff, Submission)
    assert "exit code 0" in finished.handoff.summary


async def test_a_handoff_of_the_wrong_form_is_a_failure_of_that_class(deck: Kit) -> None:
    finished = await work(deck, """echo '{"summary": 5}'""")
    assert finished.outcome is Outcome.FAILED
    assert finished.failure is FailureClass.HANDOFF
    assert "summary" in finished.feedback[0].detail


async def test_a_handoff_without_form_is_asked_for_again_with_the_form(deck: Kit) -> None:
    script = """
        echo x >> tries
        python3 -c '
import json, os
again = json.load(open(os.environ["QUARTERDECK_TASK"])).get("handoff")
print(json.dumps(again["example"] | {"verdict": "accept"}) if again else "fine")
'"""
    finished = await work(deck, script, expects="review")
    assert isinstance(finished.handoff, Review)
    assert await deck.file("tries") == "x\nx\n"
    (refused,) = [event for event in await deck.events() if isinstance(event, HandoffRefused)]
    assert (refused.expects, refused.number) == ("review", 1)
    assert "not a JSON object" in refused.reason


async def test_it_is_asked_for_no_more_than_twice_again(deck: Kit) -> None:
    finished = await work(deck, "echo x >> tries; echo fine", expects="review")
    assert (finished.outcome, finished.failure) == (Outcome.FAILED, FailureClass.HANDOFF)
    assert await deck.file("tries") == "x\nx\nx\n"
    refused = [event.number for event in await deck.events() if isinstance(event, HandoffRefused)]
    assert refused == [1, 2]


async def test_a_command_can_review_and_plan(deck: Kit) -> None:
    review = await work(deck, """echo '{"verdict": "accept", "summary": "fine"}'""", expects="review", diff="+x")
    assert review.handoff == Review(verdict="accept", summary="fine")
    none = await work(deck, "echo fine", expects="review")
    assert none.failure is FailureClass.HANDOFF
    plan = await work(
        deck, """echo '{"tasks": [{"id": "a", "title": "A", "paths": ["a"]}]}'""", expects="plan", task=None
    )
    assert isinstance(plan.handoff, Plan)
    assert plan.handoff.goal == "Greet the world"


async def test_a_failing_program_leaves_the_tail_of_its_stderr(deck: Kit) -> None:
    script = f'{sys.executable} -c \'import sys; print("x" * 40000 + "the end", file=sys.stderr)\'; exit 7'
    finished = await work(deck, script.replace(sys.executable, "python3"))
    assert finished.outcome is Outcome.FAILED
    assert finished.failure is FailureClass.TOOL
    assert "exit code 7" in finished.reason
    assert finished.feedback[0].source == "agent"
    assert finished.feedback[0].detail.endswith("the end")
    assert len(finished.feedback[0].detail) < 20_000


async def test_a_program_that_does_not_exist(deck: Kit) -> None:
    agent = Agent(name="tool", harness=Harness.COMMAND, command=("no-such-program-here",))
    finished = await CommandHarness(deck.journal).work(await deck.assignment(agent))
    assert finished.outcome is Outcome.FAILED
    assert "exit code 127" in finished.reason
    assert "no-such-program-here" in finished.feedback[0].detail


async def test_the_wall_limit_ends_everything_it_started(deck: Kit) -> None:
    finished = await work(deck, "echo working >&2; sleep 312.75 & sleep 312.75", wall=1.0)
    assert finished.outcome is Outcome.FAILED
    assert "stopped after 1 s" in finished.reason
    assert finished.feedback[0].source == "limit"
    assert any(isinstance(event, LimitReached) and event.limit == "wall" for event in await deck.events())
    listed = await deck.sandbox.exec("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '", timeout=10)
    assert b"worker" in listed.stdout or b"sh" in listed.stdout
    assert b"sleep 312.75" not in listed.stdout


async def test_a_claim_that_is_stale_starts_nothing(deck: Kit) -> None:
    agent = Agent(name="tool", harness=Harness.COMMAND, command=("touch", "started"))
    old = await deck.assignment(agent)
    await deck.again(old)
    with pytest.raises(StaleClaim):
        await CommandHarness(deck.journal).work(old)
    with pytest.raises(FileNotFoundError):
        await deck.file("started")


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize(("point", "ran"), [("harness.started", False), ("harness.finished", True)])
async def test_the_record_shows_on_which_side_of_the_effect_it_died(deck: Kit, point: str, ran: bool) -> None:
    def kill(name: str) -> None:
        if name == point:
            raise Killed

    probes.install(kill)
    try:
        with pytest.raises(Killed):
            await work(deck, "touch ran")
    finally:
        probes.install(None)
    assert [event.kind for event in await deck.events()] == ["harness.started"]
    listed = await deck.sandbox.exec("ls", timeout=10)
    assert (b"ran" in listed.stdout) is ran
