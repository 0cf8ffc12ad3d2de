"""The desk of an agent that is not our loop: everything on record once, refusals that end, messages that arrive."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent_kit import RUN, Kit, deck, kit, scenario

from quarterdeck.agents.mail import Letter, Mail, waiting
from quarterdeck.agents.outside import OutsideDesk, OutsideDesks
from quarterdeck.agents.port import Assignment, Sibling
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Submission
from quarterdeck.kernel.events import EventBase, Outcome
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.models.scripted.scenario import Rule, Turn, act

AGENT = Agent(name="implementer")
ATTEMPT = f"{RUN}.greet.1"
KEY = "qd-key"
DONE = Turn(actions=(act("submit", summary="Found it."),))


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture(autouse=True)
def _no_trap_is_left() -> Iterator[None]:
    yield
    probes.install(None)


@dataclass
class Place:
    """A desk that is open, and what it is made of."""

    kit: Kit
    desks: OutsideDesks
    mail: Mail
    desk: OutsideDesk
    assignment: Assignment

    async def done(self, tool: str) -> list[e.ToolDone]:
        return [each for each in await self.kit.events() if isinstance(each, e.ToolDone) and each.tool == tool]

    async def reopened(self, **fields: Any) -> OutsideDesk:
        """What a restarted process does."""
        return await self.desks.open("qd-again", await self.kit.assignment(AGENT, **fields))


@asynccontextmanager
async def seated(
    bench: Kit, agent: Agent = AGENT, *, turns: tuple[Turn, ...] = (DONE,), rules: tuple[Rule, ...] = (), **fields: Any
) -> AsyncIterator[Place]:
    async with bench.native(scenario(*turns, rules=rules), policy=DefaultPolicy()) as wire:
        mail = Mail()
        desks = OutsideDesks(lambda config: wire.harness, mail)
        assignment = await bench.assignment(agent, **fields)
        started = e.AttemptStarted(
            run=RUN, task="greet", number=1, agent=agent.name, harness=None, incarnation=1, base="", workspace=""
        )
        await bench.journal.append(assignment.claim, started)
        yield Place(bench, desks, mail, await desks.open(KEY, assignment), assignment)
        await desks.close(KEY)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Kit]:
    async with kit(tmp_path) as made:
        yield made


def kinds(events: list[EventBase], *types: type[EventBase]) -> list[str]:
    return [event.kind for event in events if isinstance(event, types)]


async def test_a_submission_is_an_intent_with_its_decision_and_an_outcome(bench: Kit) -> None:
    async with seated(bench) as place:
        reply = await place.desk.call("submit", {"summary": "Written.", "limitations": ["no tests"]}, "s/1")
        assert reply.ok
        assert reply.ended
        assert place.desk.ended.is_set()
        assert place.desk.handoff == Submission(summary="Written.", limitations=("no tests",))
        intended, done = (await bench.events())[1:]
        assert isinstance(intended, e.ToolIntended)
        assert isinstance(done, e.ToolDone)
        assert (intended.tool, intended.decision, intended.rules) == ("submit", "allow", ("default",))
        assert intended.call == done.call
        assert json.loads(await bench.journal.get(intended.arguments_blob))["summary"] == "Written."


async def test_the_same_request_made_again_gets_the_same_answer_and_leaves_no_second_trace(bench: Kit) -> None:
    async with seated(bench) as place:
        first = await place.desk.call("note", {"text": "port 7373"}, "s/1")
        again = await place.desk.call("note", {"text": "port 7373"}, "s/1")
        assert first == again
        other = await place.desk.call("note", {"text": "port 7373"}, "s/2")
        assert other.ok
        handed = await place.desk.call("submit", {"summary": "x"}, "s/3")
        assert await place.desk.call("submit", {"summary": "x"}, "s/3") == handed
        events = await bench.events()
        assert len(kinds(events, e.NoteRecorded)) == 2
        assert len(kinds(events, e.ToolIntended)) == len(kinds(events, e.ToolDone)) == 3


async def test_a_request_without_an_identity_is_never_taken_for_another_one(bench: Kit) -> None:
    async with seated(bench) as place:
        await asyncio.gather(*(place.desk.call("note", {"text": "same"}) for _ in range(3)))
        assert len(await place.done("note")) == 3
        assert len({done.call for done in await place.done("note")}) == 3


async def test_a_call_goes_on_when_its_connection_is_lost_and_the_repetition_joins_it(bench: Kit) -> None:
    async with seated(bench) as place:
        first = asyncio.create_task(place.desk.call("submit", {"summary": "x"}, "s/1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        again = await place.desk.call("submit", {"summary": "x"}, "s/1")
        assert again.ok
        assert len(await place.done("submit")) == 1


async def test_a_handoff_is_refused_twice_with_the_schema_and_then_the_attempt_is_over(bench: Kit) -> None:
    async with seated(bench) as place:
        texts = []
        for number in range(3):
            assert not place.desk.ended.is_set()
            reply = await place.desk.call("submit", {"summary": ""}, f"s/{number}")
            assert not reply.ok
            texts.append(reply.text)
        assert "summary" in texts[0]
        assert "An example" in texts[0]
        assert place.desk.ended.is_set()
        assert place.desk.finished is not None
        assert place.desk.finished.failure is FailureClass.HANDOFF
        late = await place.desk.call("submit", {"summary": "good"}, "s/9")
        assert not late.ok
        assert place.desk.handoff is None


async def test_a_handoff_that_the_schema_takes_and_inspection_does_not_counts_as_refused(bench: Kit) -> None:
    async with bench.native(
        scenario(DONE), policy=DefaultPolicy(), inspect=lambda assignment, handoff: ("the tasks form a cycle",)
    ) as wire:
        desks = OutsideDesks(lambda config: wire.harness, Mail())
        desk = await desks.open(KEY, await bench.assignment(AGENT))
        for number in range(3):
            reply = await desk.call("submit", {"summary": "fine"}, f"s/{number}")
            assert "the tasks form a cycle" in reply.text
        assert reply.ended
        assert desk.ended.is_set()
        await desks.close(KEY)


async def test_after_the_end_nothing_is_performed_and_that_is_on_record(bench: Kit) -> None:
    async with seated(bench) as place:
        await place.desk.call("ask", {"question": "Which port?"}, "s/1")
        assert place.desk.question == "Which port?"
        assert place.desk.finished is not None
        assert place.desk.finished.outcome is Outcome.WAITING
        reply = await place.desk.call("note", {"text": "late"}, "s/2")
        assert not reply.ok
        assert "waits for a person" in reply.text
        events = await bench.events()
        assert kinds(events, e.NoteRecorded) == []
        (denied,) = [each for each in events if isinstance(each, e.ToolIntended) and each.tool == "note"]
        assert (denied.decision, denied.rules) == ("deny", ("work-ended",))


async def test_calls_are_bounded_and_what_goes_beyond_is_not_recorded(
    bench: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.agents.outside.MAX_CALLS", 3)
    monkeypatch.setattr("quarterdeck.agents.outside.AT_ONCE", 2)
    async with seated(bench) as place:
        many = await asyncio.gather(*(place.desk.call("note", {"text": f"{n}"}) for n in range(4)))
        assert sorted(reply.ok for reply in many) == [False, False, True, True]
        assert "under way" in next(reply.text for reply in many if not reply.ok)
        await place.desk.call("note", {"text": "third"})
        assert "the most there may be" in (await place.desk.call("note", {"text": "fourth"})).text
        assert len(await place.done("note")) == 3
        assert (await place.desk.call("submit", {"summary": "x"})).ok
        assert not (await place.desk.call("submit", {"summary": "y"})).ok
        assert len(await place.done("submit")) == 1


async def test_the_task_document_says_what_to_do_and_how_the_siblings_stand(bench: Kit) -> None:
    sibling = Sibling("other", "Other task", "merged", ("b.txt",))
    async with seated(bench, siblings=(sibling,)) as place:
        document = (await place.desk.call("task", {}, "s/1")).document
        assert document is not None
        assert document["task"]["instructions"] == "Write hello."
        assert document["siblings"][0]["status"] == "merged"
        assert document["expects"] == "submission"


async def test_bad_arguments_and_unknown_tools_are_answered_and_recorded_as_denied(bench: Kit) -> None:
    async with seated(bench) as place:
        bad = await place.desk.call("todo", {"items": "all"}, "s/1")
        assert not bad.ok
        assert "items: must be array" in bad.text
        unknown = await place.desk.call("rm", {}, "s/2")
        assert "no tool `rm`" in unknown.text
        assert "delegate" not in place.desk.tools()
        decisions = [each.decision for each in await bench.events() if isinstance(each, e.ToolIntended)]
        assert decisions == ["deny", "deny"]


@pytest.mark.parametrize(("seconds", "todos"), [(600.0, 1), (-1.0, 2)])
async def test_a_request_is_a_repetition_for_a_while_only_and_a_handover_for_ever(
    bench: Kit, monkeypatch: pytest.MonkeyPatch, seconds: float, todos: int
) -> None:
    """A client that was started anew counts its requests from the beginning."""
    monkeypatch.setattr("quarterdeck.agents.outside.REPEAT_SECONDS", seconds)
    async with seated(bench) as place:
        for _ in range(2):
            await place.desk.call("todo", {"items": [{"text": "Build it", "status": "open"}]}, "s/1")
            await place.desk.call("note", {"text": "port 7373"}, "s/2")
        events = await bench.events()
        assert (len(kinds(events, e.TodoChanged)), len(kinds(events, e.NoteRecorded))) == (todos, 1)


async def test_a_persons_message_comes_with_the_next_answer_once_and_again_with_a_repetition(bench: Kit) -> None:
    async with seated(bench) as place:
        assert place.mail.deliver(ATTEMPT, Letter("m1", "Use port 7373."))
        assert place.desk.told.is_set()
        first = await place.desk.call("note", {"text": "a"}, "s/1")
        assert first.messages == ("Use port 7373.",)
        assert (await place.desk.call("note", {"text": "a"}, "s/1")).messages == first.messages
        assert (await place.desk.call("note", {"text": "b"}, "s/2")).messages == ()
        place.desk.hear(Letter("m1", "Use port 7373."))
        assert await place.desk.take_messages() == ()
        place.desk.message("And be quick.")
        assert await place.desk.take_messages() == ("And be quick.",)
        delivered = [each for each in await bench.events() if isinstance(each, e.MessageDelivered)]
        assert [(each.how, each.text) for each in delivered] == [
            ("result", "Use port 7373."),
            ("prompt", "And be quick."),
        ]


async def test_a_handoff_made_without_knowing_a_message_is_not_taken_and_not_counted(bench: Kit) -> None:
    async with seated(bench) as place:
        place.desk.message("Not like that.")
        reply = await place.desk.call("submit", {"summary": "x"}, "s/1")
        assert not reply.ok
        assert reply.messages == ("Not like that.",)
        assert not place.desk.ended.is_set()
        assert (await place.desk.call("submit", {"summary": "x, otherwise"}, "s/2")).ok


async def test_messages_on_record_wait_for_a_desk_that_opens_and_for_later_attempts(bench: Kit) -> None:
    mail = await bench.journal.claim(ids.mail_stream(ATTEMPT))
    await bench.journal.append(mail, e.MessageSent(message="m1", by="ada", text="Mind the gap."))
    async with seated(bench) as place:
        assert (await place.desk.call("task", {}, "s/1")).messages == ("Mind the gap.",)
        again = await place.reopened()
        assert await again.take_messages() == ()
        await place.desks.close("qd-again")
    later = await waiting(bench.journal, f"{RUN}.greet.2", ())
    assert [letter.text for letter in later] == ["Mind the gap."]
    assert await waiting(bench.journal, f"{RUN}.greet.1.review1", ()) == []


@pytest.mark.parametrize("point", ["tool.intended", "tool.effected"])
async def test_a_submission_whose_process_died_is_settled_when_the_desk_opens_again(bench: Kit, point: str) -> None:
    async with seated(bench) as place:

        def trap(name: str) -> None:
            if name == point:
                probes.install(None)
                raise Killed

        probes.install(trap)
        with pytest.raises(Killed):
            await place.desk.call("submit", {"summary": "x"}, "s/1")
        again = await place.reopened()
        assert again.handoff == Submission(summary="x")
        assert again.ended.is_set()
        events = await bench.events()
        assert len(kinds(events, e.ToolIntended)) == len(kinds(events, e.ToolDone)) == 1
        await place.desks.close("qd-again")


async def test_a_fresh_workspace_forgets_what_was_handed_in_before(bench: Kit) -> None:
    async with seated(bench) as place:
        await place.desk.call("submit", {"summary": "x"}, "s/1")
        claim = await bench.claim(ATTEMPT)
        await bench.journal.append(
            claim,
            e.AttemptStarted(
                run=RUN, task="greet", number=1, agent="a", harness=None, incarnation=2, base="", workspace=""
            ),
        )
        again = await place.reopened()
        assert again.finished is None
        await place.desks.close("qd-again")


async def test_a_delegation_is_carried_by_our_loop_and_answered_once(bench: Kit) -> None:
    lead = Agent(name="lead", delegates_to=("scout",))
    config = RunConfig(deck=deck(), agents={"scout": Agent(name="scout", description="looks"), "lead": lead})
    async with seated(bench, lead, config=config) as place:
        assert "scout: looks" in place.desk.tools()["delegate"].spec.description
        arguments = {"agent": "scout", "task": "Find hello."}
        first = await place.desk.call("delegate", arguments, "s/1")
        assert first.text == "Found it."
        assert await place.desk.call("delegate", arguments, "s/1") == first
        refused = await place.desk.call("delegate", {"agent": "lead", "task": "x"}, "s/2")
        assert not refused.ok
        (delegated,) = [each for each in await bench.events() if isinstance(each, e.Delegated)]
        assert delegated.child == f"{ATTEMPT}.sub1"
        child = await bench.events(delegated.child)
        assert any(isinstance(each, e.ModelAnswered) for each in child)


async def test_a_delegation_that_was_cut_off_goes_on_with_the_same_sub_agent(bench: Kit) -> None:
    lead = Agent(name="lead", delegates_to=("scout",))
    config = RunConfig(deck=deck(), agents={"scout": Agent(name="scout"), "lead": lead})
    turns = (Turn(actions=(act("todo", items=["look"]),)), DONE)
    async with seated(bench, lead, config=config, turns=turns) as place:
        reached = asyncio.Event()
        probes.install(lambda name: reached.set() if name == "model.replied" else None)
        arguments = {"agent": "scout", "task": "Find hello."}
        call = asyncio.create_task(place.desk.call("delegate", arguments, "s/1"))
        await reached.wait()
        await place.desks.close(KEY, keep=True)
        assert not (await call).ok
        assert await place.done("delegate") == []
        again = await place.desks.open(KEY, await bench.assignment(lead, config=config))
        assert (await again.call("delegate", arguments, "other/7")).text == "Found it."
        assert len(kinds(await bench.events(), e.Delegated)) == 1
        assert len(await place.done("delegate")) == 1


async def test_closing_for_good_gives_every_call_an_outcome(bench: Kit) -> None:
    lead = Agent(name="lead", delegates_to=("scout",))
    config = RunConfig(deck=deck(), agents={"scout": Agent(name="scout"), "lead": lead})
    async with seated(bench, lead, config=config) as place:
        reached = asyncio.Event()
        probes.install(lambda name: reached.set() if name == "model.intended" else None)
        call = asyncio.create_task(place.desk.call("delegate", {"agent": "scout", "task": "x"}, "s/1"))
        await reached.wait()
        await place.desks.close(KEY)
        await call
        (done,) = await place.done("delegate")
        assert done.flags == ("given-up",)
        late = await place.desk.call("note", {"text": "late"}, "s/2")
        assert not late.ok
        assert "closed" in late.text
        assert place.desks.find(KEY) is None
        assert place.desks.known(KEY)
        assert not place.desks.known("qd-other")
