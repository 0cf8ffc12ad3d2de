"""Compaction decides well for every size: it never keeps too much, never loops, never parts a call from its result."""

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.agents import context
from quarterdeck.agents.context import (
    Told,
    compacted,
    middle,
    plan,
    rendered,
    tokens,
    turns_of,
    window_of,
    without_model,
)
from quarterdeck.agents.transcript import said
from quarterdeck.kernel.entities import TodoItem
from quarterdeck.models.port import Message, Text, ToolCall, ToolOutcome

SIZES = st.lists(st.integers(1, 30_000), min_size=1, max_size=40)


@given(st.integers(0, 100_000), SIZES, st.integers(1, 200_000))
def test_a_plan_always_ends_below_the_trigger_with_room_to_grow(head: int, turns: list[int], trigger: int) -> None:
    cut = plan(head, turns, trigger)
    if cut is None:
        assert trigger - head < context.MIN_ROOM
        return
    assert 1 <= cut.keep <= len(turns)
    assert context.MIN_SUMMARY <= cut.summary <= context.MAX_SUMMARY
    assert head + cut.summary + cut.tail < trigger
    assert trigger - (head + cut.summary + cut.tail) >= cut.tail - 1
    kept = sum(turns[-cut.keep :])
    assert kept <= cut.tail or cut.keep == 1
    if cut.keep < len(turns):
        assert kept + turns[-cut.keep - 1] > cut.tail


@given(st.integers(1024, 2_000_000), st.integers(16, 100_000))
def test_a_window_leaves_most_of_itself_to_the_prompt(size: int, output: int) -> None:
    window = window_of(size, output)
    assert window.max_output <= max(16, size // 4)
    assert 0.6 * size <= window.trigger < size


TEXTS = st.text(max_size=3_000)


@st.composite
def transcripts(draw: st.DrawFn) -> list[Message]:
    messages = [said("Task: x\nDo it.")]
    for turn in range(draw(st.integers(1, 8))):
        calls = tuple(
            ToolCall(id=f"c{turn}.{index}", name="run", arguments={"command": draw(TEXTS)})
            for index in range(draw(st.integers(0, 3)))
        )
        messages.append(Message(role="assistant", blocks=(Text(text=draw(TEXTS)), *calls)))
        outcomes = tuple(ToolOutcome(id=call.id, text=draw(TEXTS)) for call in calls)
        messages.append(Message(role="user", blocks=outcomes or (Text(text="go on"),)))
    return messages


@given(transcripts(), TEXTS, st.integers(500, 6_000))
def test_what_is_compacted_is_small_and_whole(messages: list[Message], summary: str, room: int) -> None:
    head = context.head_tokens(messages)
    cut = plan(head, [tokens(turn) for turn in turns_of(messages)], head + room)
    assert cut is not None
    told = Told(summary, (TodoItem(text="the step", status="doing"),))
    short = compacted(messages, cut, told, 1.0)
    assert short[0].blocks[0] == messages[0].blocks[0]
    assert short[0].role == "user"
    calls = [call.id for message in short for call in message.calls]
    results = [block.id for message in short for block in message.blocks if isinstance(block, ToolOutcome)]
    assert calls == results
    assert [message.role for message in short] == ["user", *["assistant", "user"] * cut.keep]
    # Framing of blocks is not cut, so the smallest rooms may be missed by it.
    assert tokens(short) <= head + room + 16 * (1 + 4 * cut.keep)
    left_out = middle(messages, cut)
    assert len(left_out) == len(messages) - 1 - 2 * cut.keep


@given(transcripts(), st.integers(100, 5_000))
def test_what_summarises_is_bounded(messages: list[Message], limit: int) -> None:
    assert len(rendered(messages, limit).encode()) <= limit
    assert len(without_model(messages, limit).encode()) <= limit


def test_the_todo_survives_and_an_earlier_summary_is_summarised_again() -> None:
    turns = [Message(role="assistant", blocks=(Text(text="t" * 3000),)), said("go on")] * 6
    first = Message(role="user", blocks=(Text(text="Task: x"), Text(text="an earlier summary")))
    cut = plan(10, [tokens(turn) for turn in turns_of([first, *turns])], 4_000)
    assert cut is not None
    assert middle([first, *turns], cut)[0].text == "an earlier summary"
    short = compacted([first, *turns], cut, Told("s" * 90_000, (TodoItem(text="the step"),), ("a note",)), 1.0)
    text = short[0].text
    assert "Task: x" in text
    assert "- [open] the step" in text
    assert "- a note" in text
    assert "an earlier summary" not in text
