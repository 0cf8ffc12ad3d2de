"""A stream of the Chat Completions format, from bytes to a reply.

Rules
- As in `streams`: declared is ModelFailed; money, storage and the next request hold whatever came.
"""

from collections.abc import Sequence
from typing import Any, Final

from fuzz.streams import Event, provider, stream_seeds
from quarterdeck.models import openai_client
from quarterdeck.models.providers import Way

INSTRUMENTED = ("quarterdeck.models",)
WORDS = (
    *('"choices":', '"delta":', '"content":', '"tool_calls":', '"index":', '"function":', '"arguments":', '"usage":'),
    *('"finish_reason":', "tool_calls", "content_filter", "length", "stop", "refusal", "data: ", "[DONE]", "\\ud83d"),
)

_one = provider(
    "chat:some",
    lambda deadlines: openai_client.connect(Way("chat", None, "http://model.invalid/v1", deadlines)),
)


def _chunk(delta: dict[str, Any], finish: str | None = None) -> Event:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return "", {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "some", "choices": [choice]}


def _call(index: int, arguments: str, **head: str) -> Event:
    function = {"arguments": arguments, **({"name": "read"} if head else {})}
    return _chunk({"tool_calls": [{"index": index, "type": "function", "function": function, **head}]})


STREAM: Final[Sequence[Event]] = (
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"content": "It \ud83d"}),
    _chunk({"content": "\ude00 is"}),
    _call(0, "", id="c1"),
    _call(0, '{"path": '),
    _call(0, '"a"}'),
    _call(1, "{}", id="c2"),
    _chunk({}, "tool_calls"),
    (
        "",
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": 7,
                "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
            },
        },
    ),
)


def one(data: bytes) -> None:
    """Answer with it."""
    _one().one(data, STREAM)


def seeds() -> Sequence[bytes]:
    """The stream above, whole and broken."""
    return stream_seeds(STREAM, lines=False)
