"""A stream of Anthropic's Messages format, from bytes to a reply.

Rules
- As in `streams`: declared is ModelFailed; money, storage and the next request hold whatever came.
"""

from collections.abc import Sequence
from typing import Final

from fuzz.streams import Event, provider, stream_seeds
from quarterdeck.models import anthropic_client
from quarterdeck.models.providers import Way

INSTRUMENTED = ("quarterdeck.models",)
WORDS = (
    *("message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop", "ping", "error"),
    *(
        "text_delta",
        "input_json_delta",
        "thinking_delta",
        "signature_delta",
        "tool_use",
        "thinking",
        "redacted_thinking",
    ),
    *('"type":', '"index":', '"usage":', '"stop_reason":', "end_turn", "max_tokens", "data: ", "event: ", "\\ud83d"),
)

_one = provider(
    "anthropic:some",
    lambda deadlines: anthropic_client.connect(Way("anthropic", "key", "http://model.invalid", deadlines)),
)

STREAM: Final[Sequence[Event]] = (
    (
        "message_start",
        {
            "type": "message_start",
            "message": {
                "id": "m",
                "role": "assistant",
                "content": [],
                "usage": {"input_tokens": 9, "output_tokens": 1},
            },
        },
    ),
    (
        "content_block_start",
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
    ),
    (
        "content_block_delta",
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    ),
    (
        "content_block_delta",
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}},
    ),
    ("ping", {"type": "ping"}),
    ("content_block_start", {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
    (
        "content_block_delta",
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "It \ud83d"}},
    ),
    (
        "content_block_delta",
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "\ude00 is"}},
    ),
    (
        "content_block_start",
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "tool_use", "id": "t1", "name": "read", "input": {}},
        },
    ),
    (
        "content_block_delta",
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"path":'}},
    ),
    (
        "content_block_delta",
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ' "a"}'}},
    ),
    ("content_block_stop", {"type": "content_block_stop", "index": 2}),
    (
        "message_delta",
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 7, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 3},
        },
    ),
    ("message_stop", {"type": "message_stop"}),
)


def one(data: bytes) -> None:
    """Answer with it."""
    _one().one(data, STREAM)


def seeds() -> Sequence[bytes]:
    """The stream above, whole and broken."""
    return stream_seeds(STREAM, lines=False)
