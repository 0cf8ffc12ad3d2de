"""The context window: when to compact, what stays, what is summarised. Pure.

Rules
- With a good prompt cache an early summary costs more than it saves: compaction happens near the window's limit only.
- The task, the todo and the latest state (the last turns) always stay, word for word where they fit; the middle becomes
  a summary bounded in tokens. A call and its result are never parted.
- After a compaction the prompt is below the trigger with room to grow, so that it cannot happen again at once. Where
  the window is too small for that, it is an error, not a loop.
- Tokens are estimated and corrected by what the wire last said.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from quarterdeck.agents.transcript import Transcript, encode
from quarterdeck.kernel.entities import TodoItem
from quarterdeck.models import tokens as estimates
from quarterdeck.models.port import Block, Message, Opaque, Request, Text, ToolCall, ToolOutcome, ToolSpec
from quarterdeck.tools.bounds import bounded

TRIGGER: Final = 0.85
"""Share of the window (less the output) at which the transcript is compacted."""

FORCED: Final = 0.6
"""Share of its present size to which a prompt is brought that was refused as too long."""

BYTES_PER_TOKEN: Final = 2.0
"""Where a text must not have more than so many tokens. Prose has about 5, code 3.7, JSON 2.8; fewer than 2 are seen
only in random data."""

OVERHEAD: Final = 16
"""Tokens of framing around a summary."""

MIN_SUMMARY: Final = 100
MAX_SUMMARY: Final = 2_000
MIN_ROOM: Final = 400
"""Tokens beside the head below which a window is of no use."""


@dataclass(frozen=True, slots=True)
class Window:
    """A model's context window in tokens."""

    size: int
    max_output: int

    @property
    def trigger(self) -> int:
        """Prompt size above which the transcript is compacted."""
        return int(TRIGGER * (self.size - self.max_output))


def window_of(size: int, wanted_output: int) -> Window:
    """The window of a model; the output may take a quarter of it at most."""
    return Window(size, max(16, min(wanted_output, size // 4)))


@dataclass(frozen=True, slots=True)
class Cut:
    """What a compaction keeps."""

    keep: int
    """Number of last turns that stay."""
    summary: int
    """Tokens for the summary with the todo."""
    tail: int
    """Tokens for the turns that stay; where the last one alone is larger, its long texts are cut."""


@dataclass(frozen=True, slots=True)
class Told:
    """What an agent is told instead of the middle of its transcript."""

    summary: str
    todo: tuple[TodoItem, ...] = ()
    notes: tuple[str, ...] = ()


def plan(head: int, turns: Sequence[int], trigger: int) -> Cut | None:
    """What to keep of a transcript; None = the window is too small. All sizes in tokens.

    `head`: system prompt, tools and the task; `turns`: each answer with its results, oldest first.
    """
    room = trigger - head
    if room < MIN_ROOM or not turns:
        return None
    summary = max(MIN_SUMMARY, min(MAX_SUMMARY, room // 4))
    tail = (room - summary) // 2
    keep, used = 1, turns[-1]
    while keep < len(turns) and used + turns[-keep - 1] <= tail:
        used += turns[-keep - 1]
        keep += 1
    return Cut(keep, summary, tail)


# --- sizes ------------------------------------------------------------------------------------------------


def head_tokens(messages: Sequence[Message]) -> int:
    """Estimated tokens of the task: what no compaction removes."""
    return estimates.of_message(Message(role="user", blocks=messages[0].blocks[:1]))


def prefix_tokens(system: str, tools: Sequence[ToolSpec]) -> int:
    """Estimated tokens of what stands before the messages."""
    return estimates.of_request(Request(system=system, tools=tuple(tools), messages=(), max_output=0))


def tokens(messages: Iterable[Message]) -> int:
    """Estimated tokens of messages."""
    return sum(map(estimates.of_message, messages))


def size(state: Transcript, prefix: int, model: str) -> int:
    """Tokens of the next prompt: what the wire measured of its beginning, and an estimate of the rest."""
    measured_by, count, measured = state.measured
    if measured_by == model and count:
        return measured + tokens(state.messages[count:])
    return prefix + tokens(state.messages)


def worst_size(state: Transcript, prefix: int, model: str) -> int:
    """Tokens that the next prompt has at most, for setting money aside."""
    measured_by, count, measured = state.measured
    if measured_by == model and count:
        return measured + worst_of(0, state.messages[count:])
    return worst_of(prefix, state.messages)


def worst_of(prefix: int, messages: Iterable[Message]) -> int:
    """The same for messages that were never sent."""
    return prefix * 3 // 2 + sum(int(len(encode(message)) / BYTES_PER_TOKEN) for message in messages)


# --- rebuilding -------------------------------------------------------------------------------------------


def turns_of(messages: Sequence[Message]) -> list[tuple[Message, ...]]:
    """The messages after the first one, each answer with what follows it."""
    turns: list[tuple[Message, ...]] = []
    for message in messages[1:]:
        if message.role == "assistant" or not turns:
            turns.append((message,))
        else:
            turns[-1] = (*turns[-1], message)
    return turns


def compacted(messages: Sequence[Message], cut: Cut, told: Told, scale: float) -> tuple[Message, ...]:
    """The shorter transcript: the task, what is told instead of the middle, the last turns. `scale`: real tokens for
    an estimated one."""
    room = int(max(0, cut.summary - OVERHEAD) * BYTES_PER_TOKEN / scale)
    summary, _ = bounded(told.summary, max(0, room - len(state_text(replace(told, summary="")).encode())))
    text, _ = bounded(state_text(replace(told, summary=summary)), room)
    head = Message(role="user", blocks=(messages[0].blocks[0], Text(text=text)))
    kept = [message for turn in turns_of(messages)[-cut.keep :] for message in turn]
    limit = int(cut.tail / scale)
    if tokens(kept) > limit:
        kept = _shrunk(kept, limit)
    return (head, *kept)


def _shrunk(messages: Sequence[Message], limit: int) -> list[Message]:
    """The same messages with their longest texts cut, until they have at most `limit` estimated tokens."""
    each = 16 * 1024
    shrunk = list(messages)
    while each > 16 and tokens(shrunk) > limit:
        each //= 2
        shrunk = [
            Message(role=message.role, blocks=tuple(_short(block, each) for block in message.blocks))
            for message in messages
        ]
    return shrunk


def _short(block: Block, limit: int) -> Block:
    match block:
        case Text():
            return Text(text=bounded(block.text, limit)[0])
        case ToolOutcome():
            return block.model_copy(update={"text": bounded(block.text, limit)[0]})
        case ToolCall():
            return block.model_copy(update={"arguments": _short_value(block.arguments, limit)})
        case Opaque():
            return block


def _short_value(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return bounded(value, limit)[0]
    if isinstance(value, list):
        return [_short_value(item, limit) for item in value]
    if isinstance(value, dict):
        return {key: _short_value(item, limit) for key, item in value.items()}
    return value


def middle(messages: Sequence[Message], cut: Cut) -> list[Message]:
    """What the summary has to stand for."""
    turns = turns_of(messages)
    earlier = [Message(role="user", blocks=messages[0].blocks[1:])] if messages[0].blocks[1:] else []
    return earlier + [message for turn in turns[: len(turns) - cut.keep] for message in turn]


def rendered(messages: Sequence[Message], limit: int) -> str:
    """The messages as plain text of at most `limit` bytes, for whoever summarises them."""
    parts: list[str] = []
    for message in messages:
        for block in message.blocks:
            match block:
                case Text():
                    parts.append(f"[{'agent' if message.role == 'assistant' else 'system'}] {block.text}")
                case ToolCall():
                    arguments = bounded(json.dumps(block.arguments, ensure_ascii=False), 1_000)[0]
                    parts.append(f"[call] {block.name} {arguments}")
                case ToolOutcome():
                    parts.append(f"[{'failed' if block.error else 'result'}] {bounded(block.text, 1_500)[0]}")
                case Opaque():
                    pass
    return bounded("\n".join(parts), limit)[0]


def without_model(messages: Sequence[Message], limit: int) -> str:
    """A summary that needs no model: the calls that were made, and how they ended."""
    failed = {
        block.id for message in messages for block in message.blocks if isinstance(block, ToolOutcome) and block.error
    }
    lines = [
        f"- {call.name} {bounded(json.dumps(call.arguments, ensure_ascii=False), 160)[0]}"
        + (" (failed)" if call.id in failed else "")
        for message in messages
        for call in message.calls
    ]
    return bounded("Calls made so far:\n" + "\n".join(lines), limit)[0]


def state_text(told: Told) -> str:
    """What stands behind the task after a compaction."""
    parts = ["<reminder>\nThe conversation so far was shortened."]
    if told.todo:
        parts.append("Your todo list:\n" + "\n".join(f"- [{item.status}] {item.text}" for item in told.todo))
    if told.notes:
        parts.append("Decisions you recorded:\n" + "\n".join(f"- {note}" for note in told.notes[-10:]))
    parts.append(f"Summary of what happened before:\n{told.summary}\n</reminder>")
    return "\n\n".join(parts)
