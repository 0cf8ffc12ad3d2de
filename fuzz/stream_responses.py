"""A stream of OpenAI's Responses format, from bytes to a reply.

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
    *("response.created", "response.output_item.done", "response.completed", "response.incomplete", "response.failed"),
    *("function_call", "message", "reasoning", "encrypted_content", "refusal", "output_text", "error", "[DONE]"),
    *('"type":', '"output_index":', '"usage":', '"status":', "max_output_tokens", "data: ", "event: ", "\\ud83d"),
)

_one = provider(
    "openai:some",
    lambda deadlines: openai_client.connect(Way("openai", "key", "http://model.invalid/v1", deadlines)),
)


def _item(index: int, item: dict[str, Any]) -> Event:
    kind = "response.output_item.done"
    return kind, {"type": kind, "output_index": index, "item": item, "sequence_number": index}


STREAM: Final[Sequence[Event]] = (
    ("response.created", {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}),
    ("response.output_text.delta", {"type": "response.output_text.delta", "output_index": 1, "delta": "It"}),
    _item(0, {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "abc"}),
    _item(
        1,
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "It is", "annotations": []}],
        },
    ),
    _item(2, {"type": "function_call", "id": "f", "call_id": "c1", "name": "read", "arguments": '{"path": "a"}'}),
    _item(3, {"type": "function_call", "id": "g", "call_id": "c2", "name": "read", "arguments": ""}),
    (
        "response.completed",
        {
            "type": "response.completed",
            "response": {
                "id": "r",
                "status": "completed",
                "incomplete_details": {"reason": "content_filter"},
                "output": [],
                "error": None,
                "usage": {
                    "input_tokens": 9,
                    "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
                    "output_tokens": 7,
                    "total_tokens": 16,
                },
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
