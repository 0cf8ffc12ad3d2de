"""A stream of Ollama's own chat format, from bytes to a reply.

Rules
- As in `streams`: declared is ModelFailed; money, storage and the next request hold whatever came.
"""

from collections.abc import Sequence
from typing import Final

from fuzz.streams import Event, provider, stream_seeds
from quarterdeck.models import ollama_client
from quarterdeck.models.providers import Way

INSTRUMENTED = ("quarterdeck.models",)
WORDS = (
    *(
        '"message":',
        '"content":',
        '"tool_calls":',
        '"function":',
        '"name":',
        '"arguments":',
        '"done":',
        '"done_reason":',
    ),
    *('"eval_count":', '"prompt_eval_count":', "length", "stop", '"error":', "true", "null", "\\ud83d", "\u2028"),
)

_one = provider(
    "ollama:some",
    lambda deadlines: ollama_client.connect(Way("ollama", None, "http://model.invalid", deadlines)),
    lines=True,
)

STREAM: Final[Sequence[Event]] = (
    ("", {"model": "some", "message": {"role": "assistant", "content": "It \ud83d"}, "done": False}),
    ("", {"model": "some", "message": {"role": "assistant", "content": "\ude00 is"}, "done": False}),
    (
        "",
        {
            "model": "some",
            "message": {
                "content": "",
                "tool_calls": [{"function": {"name": "read", "arguments": {"path": "a", "n": 1}}}],
            },
            "done": False,
        },
    ),
    ("", {"message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 7}),
)


def one(data: bytes) -> None:
    """Answer with it."""
    _one().one(data, STREAM)


def seeds() -> Sequence[bytes]:
    """The stream above, whole and broken."""
    return stream_seeds(STREAM, lines=True)
