"""`quarterdeck tell` from another process reaches an agent at work, and says so where it cannot."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from deck_kit import Place, events, place_at, task
from test_goal import HAND_IN, rule, scripted, writes

from quarterdeck.assembly import open_deck
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import RunStatus
from quarterdeck.kernel.failures import BadInput, Conflicting
from quarterdeck.models.scripted.scenario import Turn, act
from quarterdeck.workplace.ground import Ground


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


HASTY = Turn(
    actions=(act("run", command="until test -e go; do sleep 0.05; done; rm go"), act("submit", summary="nothing yet"))
)
"""Works, and hands in with the same answer."""


async def test_a_message_is_read_before_the_next_step_and_before_any_handoff(place: Place) -> None:
    order = task("a", "write it", agent="implementer")
    async with scripted(place, rule("Task: a", HASTY, writes("a", "tabs"), HAND_IN)), open_deck(place.settings) as deck:
        run = await deck.create(place.order(order, sandbox="none"))
        attempt = f"{run}.a.1"
        work = asyncio.create_task(deck.work(run))
        async for record in deck.journal.follow(ids.attempt_stream(attempt)):
            if isinstance(record.event, e.ToolIntended):
                break
        code, out, err = await asyncio.to_thread(place.call, "tell", f"{run}.a", "Use tabs.", "--json")
        assert code == 0, err
        told = json.loads(out)
        assert (told["kind"], told["attempt"], told["agent"]) == ("agent.told", attempt, "implementer")
        async for record in deck.journal.follow(ids.mail_stream(attempt)):
            assert isinstance(record.event, e.MessageSent)
            assert (record.event.message, record.event.text) == (told["message"], "Use tabs.")
            break
        (Ground(place.home).workspaces / f"{attempt}-1" / "w" / "go").touch()
        await work
        assert (await deck.result(run)).status is RunStatus.DONE
        happened = await events(deck, ids.attempt_stream(attempt))
        (delivered,) = [each for each in happened if isinstance(each, e.MessageDelivered)]
        assert (delivered.message, delivered.how) == (told["message"], "transcript")
        submits = [each for each in happened if isinstance(each, e.ToolDone) and each.tool == "submit"]
        assert [(each.ok, each.flags) for each in submits] == [(False, ("message-first",)), (True, ("ends",))]
        asked = [index for index, each in enumerate(happened) if isinstance(each, e.ModelAsked)]
        assert asked[0] < happened.index(delivered) < asked[1]
        with pytest.raises(Conflicting, match="has ended"):
            await deck.tell("run", run, "Too late.")


async def test_a_command_agent_cannot_be_told_anything(place: Place) -> None:
    place.begin()
    order = task("a", "until test -e go; do sleep 0.05; done; echo x > a.txt; rm go")
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(order, sandbox="none"))
        with pytest.raises(Conflicting, match="no process works on"):
            await deck.tell("run", run, "Hello.")
        work = asyncio.create_task(deck.work(run))
        async for record in deck.journal.follow(ids.attempt_stream(f"{run}.a.1")):
            if isinstance(record.event, e.HarnessStarted):
                break
        with pytest.raises(Conflicting, match="cannot be told anything"):
            await deck.tell("task", f"{run}.a", "Hello.")
        with pytest.raises(BadInput):
            await deck.tell("run", run, " ")
        assert await deck.journal.streams("mail/") == []
        await deck.control(run, "cancel")
        await work
