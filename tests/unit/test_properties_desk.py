"""Whatever an agent asks of its desk, in any order, repeated and over restarts: once on record, the same answer."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conformance.place import place
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.agents.outside_call import Reply
from quarterdeck.kernel import events as e

pytestmark = pytest.mark.usefixtures("temporaries")

KEY = "qd-1"

CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("note", {"text": "a"}),
    ("note", {"text": "b"}),
    ("note", {"text": ""}),
    ("todo", {"items": [{"text": "x", "status": "open"}]}),
    ("task", {}),
    ("gone", {}),
    ("submit", {"summary": ""}),
    ("submit", {"summary": "done"}),
    ("ask", {"question": "which?"}),
)
Call = tuple[int, int]
"""Which of `CALLS`, and the name of the request."""

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.tuples(st.integers(0, len(CALLS) - 1), st.integers(0, 3))),
        st.tuples(st.just("both"), st.tuples(st.integers(0, len(CALLS) - 1), st.integers(0, 3))),
        st.tuples(st.sampled_from(("reopen", "message")), st.just((0, 0))),
    ),
    max_size=14,
)


def said(reply: Reply) -> tuple[str, bool, tuple[str, ...]]:
    return reply.text, reply.ok, reply.messages


async def lived(steps: list[tuple[str, Call]], directory: Path) -> None:
    answers: dict[Call, tuple[str, bool, tuple[str, ...]]] = {}
    words = 0
    async with place(directory) as here:
        desk = await here.seat(KEY)
        for what, (which, name) in steps:
            tool, arguments = CALLS[which]
            if what == "reopen":
                await here.desks.close(KEY, keep=True)
                desk = await here.seat(KEY)
            elif what == "message" and not desk.ended.is_set():
                words += 1
                desk.message(f"word {words}")
            elif what in ("call", "both"):
                request = f"r/{name}"
                calls = [desk.call(tool, arguments, request) for _ in range(2 if what == "both" else 1)]
                for reply in await asyncio.gather(*calls):
                    if tool != "task":  # which is looked up anew
                        assert answers.setdefault((which, name), said(reply)) == said(reply)
        await judged(here.events, answers, ended=desk.ended.is_set())


async def judged(events: Any, answers: dict[Call, Any], *, ended: bool) -> None:
    happened = await events()
    intents = [event for event in happened if isinstance(event, e.ToolIntended)]
    outcomes = [event for event in happened if isinstance(event, e.ToolDone)]
    assert sorted(event.call for event in intents) == sorted(event.call for event in outcomes)
    assert len({event.call for event in intents}) == len(intents)
    made = [event for event in outcomes if event.tool != "task"]
    assert len(made) == len(answers)
    taken = [event for event in outcomes if event.tool in ("submit", "ask") and event.ok]
    refused = [event for event in outcomes if event.tool == "submit" and "bad-arguments" in event.flags]
    assert len(taken) <= 1
    assert len(refused) <= 3
    assert ended == bool(taken or len(refused) == 3)
    delivered = [event.message for event in happened if isinstance(event, e.MessageDelivered)]
    assert len(set(delivered)) == len(delivered)
    if taken:
        after = happened[happened.index(taken[0]) + 1 :]
        assert not any(isinstance(event, e.NoteRecorded | e.TodoChanged | e.QuestionAsked) for event in after)


@pytest.mark.embedded("the conformance tool's place has a file; test_outside_desk is on both")
@given(STEPS)
def test_every_request_is_performed_once_and_answered_alike(steps: list[tuple[str, Call]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(lived(steps, Path(directory)))
